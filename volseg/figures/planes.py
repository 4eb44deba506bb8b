"""Planes of a patient: axial, coronal and sagittal slices, and the sides that their edges face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np

from volseg.images.grid import Grid

Plane = Literal["axial", "coronal", "sagittal"]

#: For each plane, the RAS axes (0 to 2) of a slice across and up, then the axis between slices.
#: Radiologists look at axial slices from the feet, at coronal slices from the front, and at
#: sagittal slices from the patient's left.
PLANE_AXES: Mapping[Plane, tuple[int, int, int]] = MappingProxyType(
    {"axial": (0, 1, 2), "coronal": (0, 2, 1), "sagittal": (1, 2, 0)}
)
#: Letters of the sides of each RAS axis: drawn on the left or at the top, then opposite.
_ENDS = (("R", "L"), ("A", "P"), ("S", "I"))


def sides(plane: Plane) -> dict[str, str]:
    """Letters of the patient's sides at the edges of a picture of this plane.

    >>> sides("coronal")
    {'left': 'R', 'right': 'L', 'top': 'S', 'bottom': 'I'}
    """
    across, up, _ = PLANE_AXES[plane]
    (left, right), (top, bottom) = _ENDS[across], _ENDS[up]
    return {"left": left, "right": right, "top": top, "bottom": bottom}


def slice_numbers(grid: Grid, file_grid: Grid) -> dict[Plane, Sequence[int]]:
    """Numbers of the slices of an image in its file, counted from 1, for each plane.

    Args:
        grid: Grid of the image, in RAS.
        file_grid: Grid of the file.

    >>> upside_down = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 9], [0, 0, 0, 1]])
    >>> slice_numbers(Grid((2, 2, 3), np.eye(4)), Grid((8, 8, 10), upside_down))
    {'axial': [10, 9, 8], 'coronal': [1, 2], 'sagittal': [1, 2]}
    """
    to_file = grid.in_voxels_of(file_grid)[:3]
    numbers: dict[Plane, Sequence[int]] = {}
    for plane, (_, _, through) in PLANE_AXES.items():
        axis = int(abs(to_file[:, through]).argmax())
        places = to_file[axis, 3] + to_file[axis, through] * np.arange(grid.shape[through])
        numbers[plane] = [round(float(place)) + 1 for place in places]
    return numbers
