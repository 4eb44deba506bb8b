"""What a NIfTI header says of the grid: affine, unit of length, and what it leaves open."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError

from volseg.config.section import SPACINGS_MM
from volseg.errors import ImageError
from volseg.images.grid import Grid, displacement_mm

# Beyond these, a header that names no unit is worth a note.
_COMMON_MM = (0.2, 10.0)
#: Code of a unit of length -> its name, and mm.
_UNITS = {0: ("no unit", 1.0), 1: ("m", 1000.0), 2: ("mm", 1.0), 3: ("µm", 0.001)}
# How far apart qform and sform may put a corner: more than what their rounding does.
_DISAGREE_MM = 0.1
# nibabel prints what it repairs in its own copy of a header, without saying in which file.
_SILENT = logging.Logger("header", logging.CRITICAL + 1)

Affine = npt.NDArray[np.float64]


def check_fields(header: Any) -> None:
    """Raise HeaderDataError if fields of a header contradict each other or are none."""
    header.copy().check_fix(logger=_SILENT, error_level=40)
    header.get_slope_inter()
    header.get_data_shape()


def grid_of(header: Any, where: str) -> Grid:
    """Grid that a header tells, in mm whatever its unit; ImageError if its affine is degenerate."""
    # A qfac of 0 stands for 1, and negative pixdims for positive ones: so says the standard.
    repaired = header.copy()
    repaired.check_fix(logger=_SILENT, error_level=40)
    affine = _affine(repaired)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    by_pixdim = int(header["sform_code"]) <= 0
    if by_pixdim and not header["pixdim"][1:4].all():
        spacing = np.zeros(3)
    # Volume of a voxel as a share of a box with its edges: 1 when they are perpendicular.
    with np.errstate(divide="ignore", invalid="ignore"):
        volume = abs(np.linalg.det(affine[:3, :3] / spacing))
    if not (np.isfinite(affine).all() and spacing.all() and volume > 1e-3):
        raise ImageError(
            f"{where} has a degenerate affine {affine[:3].round(4).tolist()}, but its three axes "
            "must span a volume",
            remedy="repair its sform or qform, or convert the image again",
        )
    i, j, k = (*header.get_data_shape()[:3], 1, 1, 1)[:3]
    shape = (int(i), int(j), int(k))
    _, mm = _unit(header)
    affine[:3] *= mm
    return Grid(shape, affine, tuple(_notes(repaired, shape, affine, mm)))


def check_spacing(grid: Grid, header: Any, where: str) -> None:
    """Raise ImageError if voxels are of no size that a scan has."""
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
    """Name of the unit of length, and mm."""
    code = int(header["xyzt_units"]) & 7
    return _UNITS.get(code, ("an unknown unit", 1.0))


def _notes(header: Any, shape: tuple[int, int, int], affine: Affine, mm: float) -> Iterator[str]:
    """What was assumed where a header leaves it open, each as the end of a sentence."""
    smallest, largest = _COMMON_MM
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    unit, _ = _unit(header)
    is_common = smallest <= spacing.min() and spacing.max() <= largest
    if unit == "an unknown unit" or (unit == "no unit" and not is_common):
        yield f"the header names {unit} of length: mm assumed"
    by_sform, by_qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not (by_sform or by_qform):
        orientation = "".join(nib.aff2axcodes(affine))
        yield f"qform_code and sform_code are 0: orientation {orientation} assumed"
    if by_sform and by_qform:
        qform = np.full((4, 4), np.nan)
        with np.errstate(invalid="ignore", over="ignore"):
            with contextlib.suppress(HeaderDataError, ValueError):
                qform = np.array(header.get_qform(), dtype=np.float64)
            qform[:3] *= mm
            distance = displacement_mm(shape, qform, affine)
        if not distance <= _DISAGREE_MM:
            apart = f"lie {distance:.3g} mm apart" if np.isfinite(distance) else "differ"
            yield f"qform and sform {apart}: the sform is used"
