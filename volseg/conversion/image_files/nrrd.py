"""NRRD (NRRD, NHDR, and segmentations of 3D Slicer): a text header and voxels.

Fields and their meaning by http://teem.sourceforge.net/nrrd/format.html. Keys and values of other
programs are read only for the segments of 3D Slicer. The measurement frame concerns vectors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from volseg.conversion.image_files.slicer_segments import is_segmentation, segment_notes
from volseg.conversion.image_files.stored import Encoding, Part, Stored
from volseg.conversion.image_files.text_header import (
    Fields,
    named_files,
    numbered_files,
    read_lines,
    typed,
)
from volseg.conversion.image_files.volume import (
    Assumed,
    ImageVolume,
    affine_of,
    checked_grid,
    directions,
    no_spacing,
)
from volseg.errors import ImageError
from volseg.images.grid import Affine

_MAGIC = re.compile(r"NRRD000\d")
_DATA_FILE = ("data file", "datafile")
_SPACES = {
    "right-anterior-superior": "RAS",
    "left-anterior-superior": "LAS",
    "left-posterior-superior": "LPS",
    "ras": "RAS",
    "las": "LAS",
    "lps": "LPS",
}
_ENCODINGS: dict[str, Encoding] = {
    "raw": "raw",
    "gzip": "deflate",
    "gz": "deflate",
    "bzip2": "bzip2",
    "bz2": "bzip2",
    "ascii": "text",
    "text": "text",
    "txt": "text",
}
_NAMES = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, "
    "int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
_TYPES = {name: kind for kind, names in _NAMES.items() for name in names.split(", ")}
_VECTOR = re.compile(r"\(([^()]*)\)|none", re.IGNORECASE)
_UNITS = {"mm", "millimeter", "millimeters", ""}


@dataclass(frozen=True)
class _Axes:
    """Numbers of the three axes of space among `count` axes, and the voxels along each."""

    count: int
    numbers: tuple[int, ...]
    shape: tuple[int, int, int]


def inspect_nrrd(path: Path, where: str, assumed: Assumed) -> ImageVolume:
    """The volume in an NRRD file or of an NHDR header; arguments and errors as of MetaImage."""
    lines, end = read_lines(path, where, lambda line: not line)
    if not _MAGIC.fullmatch(lines[0].strip()):
        raise ImageError(
            f"{where} is no NRRD file: it does not begin with NRRD000", remedy="copy it again"
        )
    fields, keys = _read(lines[1:], where)
    is_label = is_segmentation(path.name, keys)
    axes = _axes(fields, is_label=is_label)
    affine, notes = _affine(fields, axes, assumed)
    grid = checked_grid(axes.shape, affine, where)
    encoding = _ENCODINGS.get(fields.needed("encoding").casefold())
    if encoding is None:
        fields.refuse("encoding", fields.needed("encoding"), "raw, gzip, bzip2 or text is")
    dtype = typed(fields, fields.needed("type").casefold(), _TYPES, "=")
    if dtype.itemsize > 1 and encoding != "text":
        is_big = fields.needed("endian").casefold() == "big"
        dtype = dtype.newbyteorder(">" if is_big else "<")
    stored = Stored(where, _parts(fields, path, lines, end), axes.shape, dtype, encoding)
    if is_label:
        notes += segment_notes(keys, where)
    return stored.volume(path, grid, notes, is_label=is_label)


def _read(lines: list[str], where: str) -> tuple[Fields, dict[str, str]]:
    """Fields of the format, and keys of other programs with their values."""
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    for line in lines:
        # A field is `name: value`, a key is `name:=value`.
        name, colon, value = line.partition(":")
        if line.startswith("#") or not colon:
            continue
        if value.startswith("="):
            keys[name] = value[1:]
        else:
            fields[name.strip().casefold()] = value.strip()
    return Fields(where, fields), keys


def _axes(fields: Fields, *, is_label: bool) -> _Axes:
    sizes = fields.integers("sizes", fields.needed("sizes"), None)
    kinds = (fields.first("kinds") or "").casefold().split()
    # An axis of one voxel that is no axis of space holds the one grey value.
    numbers = [axis for axis, size in enumerate(sizes) if len(sizes) <= 3 or size != 1]
    if len(sizes) == 4 and len(numbers) < 3:
        numbers = [a for a, kind in enumerate(kinds) if kind in {"domain", "space"}]
    if len(numbers) == 3:
        i, j, k = (sizes[axis] for axis in numbers)
        return _Axes(len(sizes), tuple(numbers), (i, j, k))
    said = " x ".join(map(str, sizes))
    if is_label and len(sizes) == 4:
        raise ImageError(
            f"{fields.where} holds segments that overlap, in layers of {said} voxels, but a label "
            "map has one label in each voxel",
            remedy="in 3D Slicer, export the segments as a label map",
        )
    raise ImageError(
        f"{fields.where} has {said} voxels"
        + (f" with axes of the kinds {' '.join(kinds)}" if kinds else "")
        + ", but one volume of 3 axes and one grey value in each voxel is expected",
        remedy="export one file for each channel",
    )


def _affine(fields: Fields, axes: _Axes, assumed: Assumed) -> tuple[Affine, list[str]]:
    """Affine to RAS, and notes on what the header does not say."""
    for unit in re.findall(r'"([^"]*)"', fields.first("space units") or ""):
        if unit.casefold() not in _UNITS:
            fields.refuse("space units", unit, "mm is")
    notes = []
    space = fields.first("space")
    if space is None:
        letters, note = assumed.oriented("LPS", "as ITK does")
        notes.append(note)
    else:
        letters = _SPACES.get(space.casefold(), "")
        if not letters:
            fields.refuse("space", space, "RAS, LAS or LPS is")
    # World of the file to RAS, which is its own inverse.
    turn = directions(letters)
    origin = np.zeros(3)
    if (text := fields.first("space origin")) is not None:
        origin = _vector(fields, "space origin", text)
    else:
        notes.append("the file says no position: 0 assumed")
    return affine_of(turn @ _steps(fields, axes, assumed), (turn @ origin).tolist()), notes


def _steps(fields: Fields, axes: _Axes, assumed: Assumed) -> npt.NDArray[np.float64]:
    """Steps from voxel to voxel (3, 3) by column, in the world of the file."""
    text = fields.first("space directions")
    if text is None:
        return np.diag(_spacing(fields, axes, assumed))
    vectors = [match[0] for match in _VECTOR.finditer(text)]
    # Some programs leave the axes out that are none of space.
    spatial = (
        vectors if len(vectors) == 3 else [vectors[a] for a in axes.numbers if a < len(vectors)]
    )
    if len(spatial) != 3:
        fields.refuse("space directions", text, "a vector for each axis is")
    return np.array([_vector(fields, "space directions", one) for one in spatial]).T


def _spacing(fields: Fields, axes: _Axes, assumed: Assumed) -> npt.NDArray[np.float64]:
    if (text := fields.first("spacings")) is None:
        if assumed.spacing_mm is None:
            raise no_spacing(fields.where)
        return np.array(assumed.spacing_mm)
    return fields.numbers("spacings", text, axes.count)[list(axes.numbers)]


def _vector(fields: Fields, name: str, text: str) -> npt.NDArray[np.float64]:
    return fields.numbers(name, text.strip("() "), 3)


def _parts(fields: Fields, path: Path, lines: list[str], end: int) -> tuple[Part, ...]:
    skip = fields.integers("byte skip", fields.first("byte skip", "byteskip") or "0", 1)[0]
    if (fields.first("line skip", "lineskip") or "0") != "0" or skip < -1:
        fields.refuse("line skip", fields.first("line skip", "lineskip") or str(skip), "0 is")
    start = None if skip == -1 else skip
    file = fields.first(*_DATA_FILE)
    if file is None:
        return (Part(path, None if start is None else end + start),)
    word, _, rest = file.partition(" ")
    if word.upper() == "LIST":
        if rest.strip() not in {"", "2"}:
            fields.refuse("data file", file, "LIST of a file for each slice is")
        return named_files(fields, path, _listed(lines), start)
    if "%" in file:
        return named_files(fields, path, numbered_files(fields, file), start)
    return named_files(fields, path, [file], start)


def _listed(lines: list[str]) -> list[str]:
    """Names of files, in the lines after the field `data file: LIST`, which is the last."""
    number = next(
        number
        for number, line in enumerate(lines)
        if line.partition(":")[0].strip().casefold() in _DATA_FILE
    )
    return [line.strip() for line in lines[number + 1 :] if line.strip()]
