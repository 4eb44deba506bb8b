"""What `infer` did since it last wrote its manifest: a line appended before and after each result.

The manifest of thousands of cases takes long to write, and a process that is killed must not leave
a result without a record. So the manifest is written when a run begins and ends; its journal, which
holds the events in between, is read with it, as long as there is one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volseg.files.documents import parse_json
from volseg.files.writing import cannot_write

ENDING = ".journal"

#: Parts of a manifest that lines of a journal change, each by the name of a case: the record of a
#: result, the reason of a failure, and the files of a result that may be half written.
RECORDS, FAILURES, UNFINISHED = "cases", "failures", "unfinished"


def path_of(manifest: Path) -> Path:
    """The journal of a manifest."""
    return manifest.with_suffix(ENDING)


def add(manifest: Path, part: str, case_id: str, entry: object) -> None:
    """Append an entry of a case; it stays also when the process is killed just then.

    Raises:
        OutputError: If it cannot be written.
    """
    line = json.dumps({"part": part, "case_id": case_id, "entry": entry}) + "\n"
    path = path_of(manifest)
    try:
        with path.open("ab", buffering=0) as file:
            file.write(line.encode())
    except OSError as error:
        raise cannot_write(path, error) from error


def apply(lines: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Content of a manifest with the entries of its journal.

    Raises:
        ValueError: If a line is not one that `add` writes; the last may be cut.
    """
    parts: dict[str, dict[str, Any]] = {
        part: dict(content.get(part, {})) for part in (RECORDS, FAILURES, UNFINISHED)
    }
    # What was being written when the process was killed has no end of line.
    for number, line in enumerate(lines.split("\n")[:-1], start=1):
        event = parse_json(line)
        if not isinstance(event, dict) or event.keys() != {"part", "case_id", "entry"}:
            raise ValueError(f"line {number} of its journal is not as volseg writes it")
        if event["part"] not in parts or not isinstance(event["case_id"], str):
            raise ValueError(f"line {number} of its journal names no case")
        put(parts, event["part"], event["case_id"], event["entry"])
    if not parts[UNFINISHED]:
        del parts[UNFINISHED]
    others = {name: value for name, value in content.items() if name != UNFINISHED}
    return others | parts


def put(parts: Mapping[str, dict[str, Any]], part: str, case_id: str, entry: object) -> None:
    """Put an entry of a case into a part of a manifest, and take its older ones out of others."""
    # A record stays while a case that has one fails: its result is still there.
    for name in (FAILURES, UNFINISHED) if part == FAILURES else (RECORDS, FAILURES, UNFINISHED):
        parts[name].pop(case_id, None)
    parts[part][case_id] = entry


def remove(manifest: Path) -> None:
    """Remove the journal of a manifest that holds all of it; OSError if that fails."""
    path_of(manifest).unlink(missing_ok=True)
