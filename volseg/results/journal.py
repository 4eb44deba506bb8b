"""What `infer` did since it last wrote its manifest: a line appended before and after each result.

The manifest of thousands of cases takes long to write, and a process that is killed must not leave
a result that nobody knows of. So the manifest is written when a run begins and ends; its journal,
which tells of the time between, is read with it, as long as there is one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volseg.files.documents import parse_json
from volseg.files.writing import cannot_write

ENDING = ".journal"

#: Parts of a manifest that lines of a journal change, each by the name of a case.
RECORDS, FAILURES, BEGUN = "cases", "failures", "begun"


def path_of(manifest: Path) -> Path:
    """The journal of a manifest."""
    return manifest.with_suffix(ENDING)


def add(manifest: Path, part: str, case_id: str, told: object) -> None:
    """Append what is told of a case; it stays also when the process is killed just then.

    Raises:
        OutputError: If it cannot be written.
    """
    line = json.dumps({"part": part, "case_id": case_id, "told": told}) + "\n"
    path = path_of(manifest)
    try:
        with path.open("ab", buffering=0) as file:
            file.write(line.encode())
    except OSError as error:
        raise cannot_write(path, error) from error


def apply(lines: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Content of a manifest with what the lines of its journal tell.

    Raises:
        ValueError: If a line is none of a journal; the last may be cut.
    """
    parts: dict[str, dict[str, Any]] = {
        part: dict(content.get(part, {})) for part in (RECORDS, FAILURES, BEGUN)
    }
    # What was being written when the process was killed has no end of line.
    for number, line in enumerate(lines.split("\n")[:-1], start=1):
        told = parse_json(line)
        if not isinstance(told, dict) or told.keys() != {"part", "case_id", "told"}:
            raise ValueError(f"line {number} of its journal is none")
        if told["part"] not in parts or not isinstance(told["case_id"], str):
            raise ValueError(f"line {number} of its journal is of no case")
        note(parts, told["part"], told["case_id"], told["told"])
    return {**content, **parts} if parts[BEGUN] else _without_begun({**content, **parts})


def note(parts: Mapping[str, dict[str, Any]], part: str, case_id: str, told: object) -> None:
    """Note in the parts of a manifest what a line of its journal tells."""
    # A record stays while a case that has one fails: its result is still there.
    for name in (FAILURES, BEGUN) if part == FAILURES else (RECORDS, FAILURES, BEGUN):
        parts[name].pop(case_id, None)
    parts[part][case_id] = told


def _without_begun(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != BEGUN}


def remove(manifest: Path) -> None:
    """Remove the journal of a manifest that holds all of it; OSError if that fails."""
    path_of(manifest).unlink(missing_ok=True)
