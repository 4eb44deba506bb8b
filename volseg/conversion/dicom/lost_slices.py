"""Series that a damaged file belongs to: without it they would be converted a slice short.

A slice lost within a series leaves a gap, but the first and the last leave none.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.conversion.dicom.frames import DicomFile
from volseg.errors import GeometryError
from volseg.files.documents import open_regular

_HEADER_BYTES = 2**16
# Series Instance UID, explicit or implicit, in either byte order.
_SERIES_UID = re.compile(
    rb"(?:\x20\x00\x0e\x00|\x00\x20\x00\x0e)(?:UI..|....)([0-9][0-9.]{4,63})", re.DOTALL
)
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class LostSlice:
    """A damaged file that holds a slice of a series, or may hold one.

    Attributes:
        name: Name of the file.
        is_certain: Whether the file says that it is of the series.
    """

    name: str
    is_certain: bool

    @property
    def error(self) -> GeometryError:
        """Why the series cannot be converted."""
        remedy = "copy or export that file again"
        if self.is_certain:
            problem, remedy = "its slice", f"{remedy}, or remove it if a sound copy is there"
        else:
            problem = "perhaps its first or last slice"
            remedy += ", or remove it if it is of another series"
        return GeometryError(f"lacks {problem} in {self.name}, which is damaged", remedy=remedy)


def lost_slices(
    damaged: Iterable[Path], files: Sequence[DicomFile]
) -> dict[tuple[Path, str], LostSlice]:
    """Lost slices by folder and Series Instance UID of the files that may be of their series.

    It is the series that a damaged file names. If its header is lost, it is the series of the files
    with the next lower and the next higher number in their names, or each series of the folder if
    names are not numbered.
    """
    by_folder: dict[Path, list[DicomFile]] = defaultdict(list)
    by_uid: dict[str, list[DicomFile]] = defaultdict(list)
    for file in files:
        by_folder[file.path.parent].append(file)
        by_uid[file.series_uid].append(file)
    lost: dict[tuple[Path, str], LostSlice] = {}
    for path in damaged:
        uid = _series_uid_in(path)
        of_series = by_uid[uid] if uid else _neighbours(path, by_folder[path.parent])
        for file in of_series:
            lost.setdefault((file.path.parent, file.series_uid), LostSlice(path.name, bool(uid)))
    return lost


def is_named_as_slice(path: Path, files: Iterable[DicomFile]) -> bool:
    """Whether a name differs from those of two slices or more in its numbers only."""
    return len([file for file in files if _pattern(file.path) == _pattern(path)]) > 1


def _series_uid_in(path: Path) -> str:
    """Series Instance UID in what is left of a damaged file; "" if it is lost."""
    try:
        with open_regular(path) as file:
            match = _SERIES_UID.search(file.read(_HEADER_BYTES))
    except OSError:
        return ""
    return match[1].decode("ascii") if match else ""


def _neighbours(path: Path, beside: Sequence[DicomFile]) -> list[DicomFile]:
    numbered = [file for file in beside if _pattern(file.path) == _pattern(path)]
    if not numbered or not _numbers(path):
        return list(beside)
    lower = [file for file in numbered if _numbers(file.path) < _numbers(path)]
    higher = [file for file in numbered if _numbers(file.path) > _numbers(path)]
    return [
        *([max(lower, key=lambda file: _numbers(file.path))] if lower else []),
        *([min(higher, key=lambda file: _numbers(file.path))] if higher else []),
    ]


def _pattern(path: Path) -> tuple[Path, str]:
    return path.parent, _NUMBER.sub("#", path.name)


def _numbers(path: Path) -> list[int]:
    return [int(digits) for digits in _NUMBER.findall(path.name)]
