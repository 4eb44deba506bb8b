"""A record of many cases on disk and in memory, whose events are lines of a journal."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from volseg.errors import OutputError
from volseg.files.writing import atomic_write
from volseg.results import journal
from volseg.results.journal import FAILURES, RECORDS, UNFINISHED


class JournaledFile:
    """A record of many cases on disk and in memory.

    The document is written when the run begins and ends. In between, each event is a line of the
    journal, which takes the same time for any number of cases.

    Args:
        path: The document, a JSON file.
        content: Its entries besides those of cases, as plain data for JSON.
    """

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.path = path
        self.content: dict[str, Any] = {**content, RECORDS: {}, FAILURES: {}, UNFINISHED: {}}

    def add(self, part: str, case_id: str, entry: object) -> None:
        """Add an entry of a case, to the journal on disk and to the content in memory.

        Args:
            part: `RECORDS`, `FAILURES` or `UNFINISHED`.
            case_id: Id of the case.
            entry: Entry in that part of the document, as plain data for JSON.

        Raises:
            OutputError: If the journal cannot be written.
        """
        journal.add(self.path, part, case_id, entry)
        journal.put(self.content, part, case_id, entry)

    def write(self) -> None:
        """Write the document with all entries, and remove its journal."""
        # Usually no case is unfinished.
        left_out = [] if self.content[UNFINISHED] else [UNFINISHED]
        write_document(self.path, without(self.content, left_out))
        journal.remove(self.path)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Write the document when the block ends, also by an exception."""
        try:
            yield
        except BaseException:
            # If writing fails, the journal still holds the entries.
            with contextlib.suppress(OutputError):
                self.write()
            raise
        if journal.path_of(self.path).exists():
            self.write()


def without(named: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Entries except `names`."""
    return {name: value for name, value in named.items() if name not in names}


def write_document(path: Path, content: Mapping[str, Any]) -> None:
    """Write a document as JSON, whole or not at all; the caller has checked its place."""
    with atomic_write(path, known=True) as temporary:
        temporary.write_text(_text(content), encoding="utf-8")


def _text(content: Mapping[str, Any]) -> str:
    """A document as JSON text, with a line for each case, which is short and quick to write."""
    parts = (f"{json.dumps(name)}: {_lines(part)}" for name, part in content.items())
    return "{\n  " + ",\n  ".join(parts) + "\n}\n"


def _lines(part: object) -> str:
    if not isinstance(part, dict) or not part:
        return json.dumps(part)
    lines = (f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in part.items())
    return "{\n    " + ",\n    ".join(lines) + "\n  }"
