"""Journal of a manifest: a line for each event since `infer` last wrote the manifest.

A manifest of thousands of cases takes long to write, but a killed process must not leave a result
without a record. So `infer` writes the manifest when a run begins and ends, and appends a line to
the journal before and after each result. Readers of a manifest also read its journal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volseg.files.documents import parse_json
from volseg.files.writing import cannot_write

ENDING = ".journal"

#: Parts of a manifest that a journal changes, each by case id: records of results, reasons of
#: failures, and files of results that may be half written.
RECORDS, FAILURES, UNFINISHED = "cases", "failures", "unfinished"


def path_of(manifest: Path) -> Path:
    """Path of the journal of a manifest."""
    return manifest.with_suffix(ENDING)


def add(manifest: Path, part: str, case_id: str, entry: object) -> None:
    """Append an entry of a case, unbuffered, so that it remains if the process is killed.

    Raises:
        OutputError: If the journal cannot be written.
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
        ValueError: If a line is not in the form of `add`; only the last line may be incomplete.
    """
    parts: dict[str, dict[str, Any]] = {
        part: dict(content.get(part, {})) for part in (RECORDS, FAILURES, UNFINISHED)
    }
    # A line that a killed process did not finish has no end of line.
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
    """Put an entry of a case into a part of a manifest, and remove older entries of the case."""
    # A failure keeps the record of an earlier result, which is still there.
    for name in (FAILURES, UNFINISHED) if part == FAILURES else (RECORDS, FAILURES, UNFINISHED):
        parts[name].pop(case_id, None)
    parts[part][case_id] = entry


def remove(manifest: Path) -> None:
    """Remove the journal, once the manifest holds all of its entries; OSError if that fails."""
    path_of(manifest).unlink(missing_ok=True)
