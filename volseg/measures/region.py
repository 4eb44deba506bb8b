"""Volume, number of lesions, largest section and diameters of each region of a case."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from volseg.images.boxes import bounding_box
from volseg.images.components import lesions
from volseg.images.grid import Grid
from volseg.labels import Masks
from volseg.measures.diameters import Diameters, in_plane_steps, largest_diameters


@dataclass(frozen=True)
class Section:
    """The axial slice in which a region has the largest area.

    Attributes:
        pixels: Number of its pixels.
        area_mm2: Its area in mm2; None if the size of a pixel is unknown.
        slice_number: Number of the slice in the file, counted from 1.
    """

    pixels: int
    area_mm2: float | None
    slice_number: int


@dataclass(frozen=True)
class RegionMeasures:
    """Sizes of a region of one case.

    Attributes:
        voxels: Number of its voxels; None in a record of an older version, as are the others.
        volume_ml: Its volume in ml; None if the size of a voxel is unknown.
        n_lesions: Number of lesions; see `volseg.images.components.lesions`.
        section: Largest axial section; None if the region is empty.
        diameter: Largest diameters in an axial slice; None if the region is empty or the size of a
            voxel is unknown.
    """

    voxels: int | None = None
    volume_ml: float | None = None
    n_lesions: int | None = None
    section: Section | None = None
    diameter: Diameters | None = None


def measure(
    masks: Masks, grid: Grid, *, has_size: bool = True, first: int = 1
) -> dict[str, RegionMeasures]:
    """Sizes of each region of a case.

    Args:
        masks: Masks (I, J, K) by region, on the grid of the file.
        grid: The grid; axial slices are those across its axis nearest to the patient's axis from
            feet to head, also if the grid is oblique.
        has_size: Whether the size of a voxel is known.
        first: Number of the first axial slice in the file.
    """
    return {region: _measure(mask, grid, has_size, first) for region, mask in masks.items()}


def _measure(mask: npt.NDArray[np.bool_], grid: Grid, has_size: bool, first: int) -> RegionMeasures:
    voxels = int(np.count_nonzero(mask))
    volume_ml = voxels * grid.voxel_ml if has_size else None
    if not voxels:
        return RegionMeasures(0, volume_ml, 0)
    box = bounding_box(mask)
    slices = np.moveaxis(mask[box], grid.axial_axis, 0)
    first += box[grid.axial_axis].start
    steps = in_plane_steps(grid)
    areas = np.count_nonzero(slices, axis=(1, 2))
    pixels = int(areas.max())
    area_mm2 = pixels * abs(float(np.linalg.det(steps))) if has_size else None
    return RegionMeasures(
        voxels=voxels,
        volume_ml=volume_ml,
        n_lesions=lesions(mask[box])[1],
        section=Section(pixels, area_mm2, first + int(areas.argmax())),
        diameter=largest_diameters(slices, steps, first) if has_size else None,
    )
