"""Copies: files with one SOP Instance UID, and series with equal voxels."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from volseg.conversion.dicom.frames import DicomFile
from volseg.conversion.dicom.pixels import read_voxels
from volseg.conversion.series import LeftOut, Series, SourceFinding
from volseg.errors import ImageError
from volseg.files.documents import open_regular

# What a copy under new UIDs may say otherwise.
_NOT_COMPARED: dict[str, Any] = dict.fromkeys(
    ("number", "acquired_on", "acquired", "description", "protocol")
)


@dataclass(frozen=True)
class Copies:
    """Files whose SOP Instance UID another file has.

    Attributes:
        copies: Files with the content of another file, which is kept.
        contradictions: Files with another content, with problem and remedy.
    """

    copies: tuple[Path, ...]
    contradictions: tuple[tuple[Path, str], ...]

    @property
    def removed(self) -> frozenset[Path]:
        """Files of both kinds."""
        return frozenset({*self.copies, *(path for path, _ in self.contradictions)})


def copied_files(files: Iterable[DicomFile]) -> Copies:
    """Files that are copies of others, by SOP Instance UID and content."""
    by_uid: dict[tuple[str, str], list[DicomFile]] = defaultdict(list)
    for file in files:
        if file.sop_uid:
            by_uid[file.series_uid, file.sop_uid].append(file)
    copies: list[Path] = []
    contradictions: dict[Path, str] = {}
    for first, *others in by_uid.values():
        for other in others:
            if _is_copy(first, other):
                copies.append(other.path)
            elif first.frames:
                contradictions[first.path] = _contradiction(other)
                contradictions[other.path] = _contradiction(first)
    return Copies(tuple(copies), tuple(contradictions.items()))


def _contradiction(other: DicomFile) -> str:
    return (
        f"has the SOP Instance UID of {other.path.name}, but another content; remove one of the "
        "two files"
    )


def _is_copy(file: DicomFile, other: DicomFile) -> bool:
    """Whether two files hold the same: byte for byte, or the same slices, compressed otherwise."""
    if _digest(file.path) == _digest(other.path):
        return True
    places = [
        [(frame.position, frame.orientation, frame.spacing) for frame in each.frames]
        for each in (file, other)
    ]
    if not file.frames or places[0] != places[1]:
        return False
    try:
        one, two = (read_voxels(each.path.name, each.frames) for each in (file, other))
    except ImageError:
        return False
    return one.shape == two.shape and bool((one == two).all())


def _digest(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            content: Any = file
            return hashlib.file_digest(content, "sha256").digest()
    except OSError:
        return str(path).encode()


def copied_series(finding: SourceFinding) -> SourceFinding:
    """Leave out series of a study with the grid, the facts and the voxels of another series."""
    groups: dict[Any, list[Series]] = defaultdict(list)
    for series in finding.series:
        facts = replace(series.facts, **_NOT_COMPARED)
        groups[series.patient.key, series.study.key, series.grid, facts].append(series)
    left_out = [copy for members in groups.values() for copy in _equal(members)]
    names = {copy.name for copy in left_out}
    kept = tuple(series for series in finding.series if series.name not in names)
    return replace(finding, series=kept, left_out=(*finding.left_out, *left_out))


def _equal(members: Sequence[Series]) -> list[LeftOut]:
    if len(members) == 1:
        return []
    first_with: dict[bytes, Series] = {}
    copies = []
    for series in members:
        try:
            digest = hashlib.sha256(series.read().tobytes()).digest()
        except ImageError:
            continue  # said when it is read
        first = first_with.setdefault(digest, series)
        if first is not series:
            copies.append(LeftOut(series.name, f"a copy of {first.name}", series.patient.key))
    return copies
