"""Grid of a NIfTI header: affine, unit of length, and notes where the header is incomplete."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from nibabel.spatialimages import HeaderDataError

from volseg.config.section import SPACINGS_MM
from volseg.errors import ImageError
from volseg.images.grid import Affine, Grid

# Outside this range of spacings, a header without a unit gets a note.
_COMMON_MM = (0.2, 10.0)
#: Code of a unit of length -> its name and its length in mm.
_UNITS = {0: ("no unit", 1.0), 1: ("m", 1000.0), 2: ("mm", 1.0), 3: ("µm", 0.001)}
# Largest distance of a corner between qform and sform that rounding explains.
_DISAGREE_MM = 0.1
# nibabel logs repairs in its own copy of a header, without the name of the file.
_SILENT = logging.Logger("header", logging.CRITICAL + 1)


def check_fields(header: Any) -> None:
    """Raise HeaderDataError if fields of a header are invalid or contradict each other."""
    header.copy().check_fix(logger=_SILENT, error_level=40)
    header.get_slope_inter()
    header.get_data_shape()


def grid_of(header: Any, where: str) -> Grid:
    """Grid of a header, in mm whatever its unit; ImageError if its affine is degenerate."""
    # By the standard, a qfac of 0 means 1, and negative pixdims mean positive ones.
    repaired = header.copy()
    repaired.check_fix(logger=_SILENT, error_level=40)
    affine = _affine(repaired)
    i, j, k = (*header.get_data_shape()[:3], 1, 1, 1)[:3]
    shape = (int(i), int(j), int(k))
    by_pixdim = int(header["sform_code"]) <= 0
    is_flat = by_pixdim and not header["pixdim"][1:4].all()
    if is_flat or Grid(shape, affine).is_degenerate:
        raise ImageError(
            f"{where} has a degenerate affine {affine[:3].round(4).tolist()}, but its three axes "
            "must span a volume",
            remedy="repair its sform or qform, or convert the image again",
        )
    _, mm = _unit(header)
    affine[:3] *= mm
    grid = Grid(shape, affine)
    return replace(grid, notes=tuple(_notes(repaired, grid, mm)))


def header_spacing_mm(header: Any) -> tuple[float, float, float]:
    """Voxel size along each axis by pixdim, in mm; nibabel repairs zero and negative sizes."""
    repaired = header.copy()
    repaired.check_fix(logger=_SILENT, error_level=40)
    _, mm = _unit(header)
    i, j, k = (float(size) * mm for size in repaired["pixdim"][1:4])
    return i, j, k


def check_spacing(grid: Grid, header: Any, where: str) -> None:
    """Raise ImageError if the size of the voxels is impossible for a scan."""
    smallest, largest = SPACINGS_MM
    if all(smallest <= mm <= largest for mm in grid.spacing_mm):
        return
    unit, mm = _unit(header)
    found = " x ".join(f"{side:.4g}" for side in grid.spacing_mm)
    said = " x ".join(f"{side / mm:.4g}" for side in grid.spacing_mm)
    raise ImageError(
        f"{where} has voxels of {found} mm ({said} in its header, which names {unit}), but "
        f"{smallest:g} to {largest:g} mm are expected",
        remedy="correct its affine or its xyzt_units",
    )


def _affine(header: Any) -> Affine:
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            return np.array(header.get_best_affine(), dtype=np.float64)
    except (HeaderDataError, ValueError):  # a quaternion longer than 1
        return np.full((4, 4), np.nan)


def _unit(header: Any) -> tuple[str, float]:
    """Name of the unit of length, and its length in mm."""
    code = int(header["xyzt_units"]) & 7
    return _UNITS.get(code, ("an unknown unit", 1.0))


def _notes(header: Any, grid: Grid, mm: float) -> Iterator[str]:
    """Assumptions where a header is incomplete, each as the end of a sentence."""
    smallest, largest = _COMMON_MM
    unit, _ = _unit(header)
    is_common = smallest <= min(grid.spacing_mm) and max(grid.spacing_mm) <= largest
    if unit == "an unknown unit" or (unit == "no unit" and not is_common):
        yield f"the header names {unit} of length: mm assumed"
    by_sform, by_qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not (by_sform or by_qform):
        yield f"qform_code and sform_code are 0: orientation {grid.orientation} assumed"
    if by_sform and by_qform:
        qform = np.full((4, 4), np.nan)
        with np.errstate(invalid="ignore", over="ignore"):
            with contextlib.suppress(HeaderDataError, ValueError):
                qform = np.array(header.get_qform(), dtype=np.float64)
            qform[:3] *= mm
            distance = grid.displacement_mm(Grid(grid.shape, qform))
        if not distance <= _DISAGREE_MM:
            apart = f"lie {distance:.3g} mm apart" if np.isfinite(distance) else "differ"
            yield f"qform and sform {apart}: the sform is used"
