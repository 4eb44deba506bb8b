"""MetaImage (MHA, MHD): a text header, and voxels behind it or in other files.

Keys and their meaning as in ITK. Fields of free text, such as Comment, are never used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
    checked_directions,
    checked_grid,
    directions,
    no_spacing,
)
from volseg.errors import ImageError
from volseg.images.grid import Affine, ras_from_lps

_FILE = "elementdatafile"
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_DIRECTIONS = ("transformmatrix", "rotation", "orientation")
_ORIGIN = ("offset", "position", "origin")
_UNITS = {"mm", "millimeter", "millimeters", "met_mm", "?", ""}


def inspect_metaimage(path: Path, where: str, assumed: Assumed) -> ImageVolume:
    """The volume in an MHA or MHD file, by its header.

    Args:
        path: The file.
        where: Name of the file in errors.
        assumed: What holds if the header does not say it.

    Raises:
        ImageError: If the header is damaged, or its voxels are missing, truncated or no grey values
            of one volume.
        GeometryError: If the geometry is impossible.
    """
    lines, end = read_lines(path, where, lambda line: _key(line) == _FILE)
    values = {_key(line): line.partition("=")[2].strip() for line in lines if "=" in line}
    if _FILE not in values:
        raise ImageError(
            f"{where} is no MetaImage: its header has no ElementDataFile", remedy="copy it again"
        )
    fields = Fields(where, values)
    shape = _shape(fields)
    affine, notes = _affine(fields, assumed)
    grid = checked_grid(shape, affine, where)
    stored = Stored(where, _parts(fields, path, end), shape, *_coding(fields), *_scaling(fields))
    return stored.volume(path, grid, notes)


def _key(line: str) -> str:
    return line.partition("=")[0].strip().casefold()


def _is_true(fields: Fields, *names: str) -> bool:
    return (fields.first(*names) or "").casefold().startswith(("t", "1", "y"))


def _shape(fields: Fields) -> tuple[int, int, int]:
    sizes = fields.integers("DimSize", fields.needed("dimsize"), None)
    channels = fields.first("elementnumberofchannels") or "1"
    if channels != "1":
        raise ImageError(
            f"{fields.where} holds {channels} values in each voxel, but one grey value is expected",
            remedy="export one file for each channel",
        )
    if len(sizes) < 3 or any(size != 1 for size in sizes[3:]):
        raise ImageError(
            f"{fields.where} has {' x '.join(map(str, sizes))} voxels, but one volume of 3 axes is "
            "expected",
            remedy="export one file for each volume",
        )
    return sizes[0], sizes[1], sizes[2]


def _affine(fields: Fields, assumed: Assumed) -> tuple[Affine, tuple[str, ...]]:
    """Affine to RAS, and notes on what the header does not say."""
    notes = []
    axes = len(fields.needed("dimsize").split())
    if (unit := (fields.first("distanceunits") or "").casefold()) not in _UNITS:
        fields.refuse("DistanceUnits", unit, "mm is")
    text = fields.first("elementspacing")
    if text is None and assumed.spacing_mm is None:
        raise no_spacing(fields.where)
    spacing = np.array(assumed.spacing_mm)
    if text is not None:
        spacing = fields.numbers("ElementSpacing", text, axes)[:3]
    if (origin := fields.first(*_ORIGIN)) is None:
        notes.append("the file says no position: 0 assumed")
    offset = np.zeros(3) if origin is None else fields.numbers("Offset", origin, axes)[:3]
    if (matrix := fields.first(*_DIRECTIONS)) is None:
        letters, note = assumed.oriented("LPS", "as ITK does")
        unit_steps, notes = np.diag([-1, -1, 1]) @ directions(letters), [note, *notes]
    else:
        # Each row is the direction of an axis of the array, in LPS.
        rows = fields.numbers("TransformMatrix", matrix, axes**2).reshape(axes, axes)
        unit_steps = checked_directions(rows[:3, :3].T, fields.where, "TransformMatrix")
    return ras_from_lps(affine_of(unit_steps * spacing, offset.tolist())), tuple(notes)


def _coding(fields: Fields) -> tuple[np.dtype[np.generic], Encoding]:
    is_big = _is_true(fields, "binarydatabyteordermsb", "elementbyteordermsb")
    dtype = typed(fields, fields.needed("elementtype").upper(), _TYPES, ">" if is_big else "<")
    if (fields.first("binarydata") or "True").casefold().startswith("f"):
        return dtype, "text"
    return dtype, "deflate" if _is_true(fields, "compresseddata") else "raw"


def _scaling(fields: Fields) -> tuple[float, float]:
    texts = [
        fields.first("elementtointensityfunctionslope") or "1",
        fields.first("elementtointensityfunctionoffset") or "0",
    ]
    slope, intercept = (float(fields.numbers("slope", text, 1)[0]) for text in texts)
    return slope, intercept


def _parts(fields: Fields, path: Path, end: int) -> tuple[Part, ...]:
    file = fields.needed(_FILE)
    header = fields.integers("HeaderSize", fields.first("headersize") or "0", 1)[0]
    start = None if header == -1 else max(0, header)
    word, _, rest = file.partition(" ")
    if file.casefold() in {"local", ""}:
        return (Part(path, end),)
    if word.casefold() == "list":
        if rest.strip() not in {"", "2", "2D"}:
            fields.refuse("ElementDataFile", file, "LIST of a file for each slice is")
        return named_files(fields, path, _names_after(path), start)
    if "%" in file:
        return named_files(fields, path, numbered_files(fields, file), start)
    return named_files(fields, path, [file], start)


def _names_after(path: Path) -> list[str]:
    """Names of files in the lines after that of ElementDataFile."""
    lines, _ = read_lines(path, str(path), lambda _: False)
    number = next(number for number, line in enumerate(lines) if _key(line) == _FILE)
    return [line.strip() for line in lines[number + 1 :] if line.strip()]
