"""Siemens mosaics: all slices of a volume as tiles of one image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from volseg.errors import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from volseg.conversion.dicom.frames import Frame

_REMEDY = "export the series as an enhanced file, or as single slices"


@dataclass(frozen=True, slots=True)
class Tile:
    """Place of a slice in a mosaic.

    Attributes:
        number: Its number, row by row.
        side: Tiles in a row, and in a column.
    """

    number: int
    side: int


@dataclass(frozen=True)
class Tiling:
    """Slices of a mosaic.

    Attributes:
        side: Tiles in a row, and in a column.
        rows: Pixels along a column of a tile.
        columns: Pixels along a row of a tile.
        positions: Position of the first pixel of each slice in LPS, in mm.
    """

    side: int
    rows: int
    columns: int
    positions: tuple[tuple[float, ...], ...]


def tiling_of(ds: Dataset, mosaic: Frame) -> Tiling:
    """Slices of a mosaic by the private header of Siemens.

    The position in the standard header is that of an image of the size of the mosaic, with the
    slice in its middle.

    Args:
        ds: Header with the private elements.
        mosaic: The mosaic as one frame.

    Raises:
        ImageError: If the private header is missing or contradicts the image.
    """
    header = _csa(ds)
    count, normal = _number_of_tiles(ds, header), _normal(header)
    orientation, spacing, position = mosaic.orientation, mosaic.spacing, mosaic.position
    if orientation is None or spacing is None or position is None:
        raise ImageError("is a mosaic without position, orientation or spacing", remedy=_REMEDY)
    if not count or normal is None or not mosaic.rows or not mosaic.columns:
        raise ImageError(
            "is a mosaic without the private header that gives its slices", remedy=_REMEDY
        )
    side = math.ceil(math.sqrt(count))
    if mosaic.rows % side or mosaic.columns % side or not mosaic.between_mm:
        raise ImageError(
            f"is a mosaic of {mosaic.columns} x {mosaic.rows} pixels, which do not divide into "
            f"{side} x {side} slices at a known distance",
            remedy=_REMEDY,
        )
    rows, columns = mosaic.rows // side, mosaic.columns // side
    along_row, along_column = np.array(orientation[:3]), np.array(orientation[3:])
    first = (
        np.array(position)
        + along_row * spacing[1] * (mosaic.columns - columns) / 2
        + along_column * spacing[0] * (mosaic.rows - rows) / 2
    )
    positions = tuple(
        tuple(map(float, first + normal * mosaic.between_mm * number)) for number in range(count)
    )
    return Tiling(side, rows, columns, positions)


def _csa(ds: Dataset) -> Mapping[str, Any]:
    from nibabel.nicom import csareader

    try:
        return csareader.get_csa_header(ds, "image") or {}
    except Exception:  # a damaged header ends in almost any exception
        return {}


def _number_of_tiles(ds: Dataset, header: Mapping[str, Any]) -> int | None:
    from nibabel.nicom import csareader

    number = csareader.get_n_mosaic(header) if header else None
    if number is None and 0x0019100A in ds:
        number = ds[0x0019100A].value
    return int(number) if isinstance(number, (int, float, str)) and number else None


def _normal(header: Mapping[str, Any]) -> np.ndarray | None:
    from nibabel.nicom import csareader

    normal = csareader.get_slice_normal(header) if header else None
    if normal is None:
        return None
    vector = np.array(normal, float)
    length = float(np.linalg.norm(vector))
    return vector / length if math.isfinite(length) and length > 0 else None
