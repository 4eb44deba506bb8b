"""Record of converted cases, without anything that identifies a patient."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from volseg import __version__
from volseg.conversion.series import Series
from volseg.errors import OutputError
from volseg.files.documents import read_json, validated
from volseg.files.ownership import CONVERSION_FILE
from volseg.files.writing import atomic_write
from volseg.words import reason

_REMEDY = "restore it, or convert into another folder"
# Shorter texts would be found in any sentence.
_LEAST_LETTERS = 3


class FileRecord(BaseModel):
    """A file of a case.

    Attributes:
        file: Its name.
        bytes: Its size.
        sha256: Digest of its content.
        shape: Voxels along each axis.
        spacing_mm: Size of a voxel.
        orientation: Directions of the axes, such as LPS.
        evidence: Why the series is this channel.
        notes: Assumptions of the reading.
    """

    model_config = ConfigDict(strict=True, extra="allow")

    file: str
    bytes: Annotated[int, Field(ge=0)]
    sha256: str
    shape: list[int]
    spacing_mm: list[float]
    orientation: str
    evidence: list[str]
    notes: list[str] = []


class CaseRecord(BaseModel):
    """A converted case: its files by channel, and the channels that were refused."""

    model_config = ConfigDict(strict=True, extra="allow")

    channels: dict[str, FileRecord]
    refused: list[str] = []

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 by name of the file."""
        return {one.file: one.sha256 for one in self.channels.values()}


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    cases: dict[str, CaseRecord]


def read_record(folder: Path) -> dict[str, CaseRecord]:
    """Records of the cases of a folder; empty if it has no record.

    Raises:
        OutputError: If the record cannot be read, or volseg did not write it.
    """
    path = folder / CONVERSION_FILE
    if not path.exists():
        return {}
    content = read_json(path, OutputError, remedy=_REMEDY)
    try:
        validated(_Document, content)
    except ValueError as error:
        raise OutputError(
            f"{path} is no record of volseg convert ({reason(error)})", remedy=_REMEDY, path=path
        ) from None
    return _Document.model_validate(content).cases


def write_record(folder: Path, cases: Mapping[str, CaseRecord]) -> None:
    """Write the record of all cases of a folder."""
    content = {
        "volseg": __version__,
        "cases": {case_id: cases[case_id].model_dump() for case_id in sorted(cases)},
    }
    with atomic_write(folder / CONVERSION_FILE) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def harmless_notes(series: Series) -> list[str]:
    """Notes of a series that hold no word of its source: no name, description or path."""
    facts, patient, study = series.facts, series.patient, series.study
    texts = [facts.description, facts.protocol, facts.contrast_agent, study.description]
    texts += [patient.key, patient.id, patient.name, study.key, series.name]
    texts += [part for path in series.files for part in path.parts]
    words = {text.casefold() for text in texts if text and len(text) >= _LEAST_LETTERS}
    return [note for note in series.notes if not any(word in note.casefold() for word in words)]
