"""Grids of prepared cases, and channels on them: interpolated once, or copied as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.images.boxes import bounding_box
from volseg.images.grid import Affine, Grid, scaling
from volseg.preparation.resampling import Interpolation, resample
from volseg.preparation.volume import Volume

Mask = npt.NDArray[np.bool_]

# Space around the brain that is kept, in mm.
_MARGIN_MM = 10.0
# Voxels that lie closer than this are the same voxels, as in `images.grid.check_same_grid`.
_SAME_MM = 0.01


def straight_grid(grid: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """The grid of these voxels that covers `grid`, along its axes, in the order and directions LPS.

    These are the directions of BraTS. A spacing that differs by less than 1 % is kept, so that
    voxels are copied and not interpolated. The affine is rounded to float32, as files hold it.
    """
    ras = grid.resampled(spacing_mm)
    i, j, _ = ras.shape
    turned = ras.affine @ scaling((-1, -1, 1), (i - 1, j - 1, 0))
    return in_float32(Grid(ras.shape, turned))


def in_float32(grid: Grid) -> Grid:
    """A grid as the sform of a NIfTI file holds it."""
    return Grid(grid.shape, grid.affine.astype(np.float32).astype(np.float64))


def brain_box(content: Mask, grid: Grid) -> tuple[slice, ...]:
    """Box of a mask with a margin in mm, within the grid."""
    margin = max(1, round(_MARGIN_MM / min(grid.spacing_mm)))
    return bounding_box(content, margin)


def on_grid(
    volume: Volume,
    onto: Grid,
    matrix: Affine,
    interpolation: Interpolation = "linear",
    outside: float = 0.0,
) -> npt.NDArray[Any]:
    """Values of a volume on another grid, in the type of the volume where voxels are copied.

    Args:
        volume: Source.
        onto: Grid of the result.
        matrix: (4, 4) from the world of `onto` to the world of the volume (RAS, mm).
        interpolation: See `resample`.
        outside: Value outside the volume.
    """
    pull = np.linalg.inv(volume.grid.affine) @ matrix @ onto.affine
    if _is_copy(pull, onto.shape, volume.grid):
        return _copied(volume.values, np.rint(pull).astype(np.int64), onto.shape, outside)
    return resample(volume, onto, matrix, interpolation, outside)


def _is_copy(pull: Affine, shape: tuple[int, int, int], source: Grid) -> bool:
    """Whether a matrix between voxel indices takes each voxel from one voxel of the source."""
    whole = np.rint(pull)
    turns = np.abs(whole[:3, :3])
    reach = np.abs(pull - whole)[:3] @ np.array([*shape, 1.0])
    is_turn = bool((turns.sum(axis=0) == 1).all() and (turns.sum(axis=1) == 1).all())
    return is_turn and bool((reach * source.spacing_mm).max() < _SAME_MM)


def _copied(
    values: npt.NDArray[Any],
    pull: npt.NDArray[np.int64],
    shape: tuple[int, int, int],
    outside: float,
) -> npt.NDArray[Any]:
    """Values at whole voxels: axes in another order or direction, and cut or extended."""
    axes = [int(axis) for axis in np.abs(pull[:3, :3]).argmax(axis=0)]
    places = [
        pull[axis, new] * np.arange(size) + pull[axis, 3]
        for new, (axis, size) in enumerate(zip(axes, shape, strict=True))
    ]
    inside = [
        (place >= 0) & (place < values.shape[axis])
        for axis, place in zip(axes, places, strict=True)
    ]
    result = np.full(shape, outside, values.dtype)
    found = values.transpose(axes)[np.ix_(*(p[i] for p, i in zip(places, inside, strict=True)))]
    result[np.ix_(*(np.flatnonzero(i) for i in inside))] = found
    return result
