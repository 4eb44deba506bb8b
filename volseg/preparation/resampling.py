"""Resampling of a volume onto any grid, through a matrix between their worlds, in one step.

Transforms are composed by multiplying their matrices, so a volume is interpolated once. Where
voxels become larger, each new voxel is the mean over its extent, not the value at its centre.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from volseg.images.grid import Affine, Grid
from volseg.preparation.volume import Volume

Interpolation = Literal["linear", "bspline", "label"]
# A new voxel that spans fewer old voxels than this along an axis takes the value at its centre.
_SPANNED = 1.5


def resample(
    volume: Volume,
    onto: Grid,
    matrix: Affine,
    interpolation: Interpolation = "linear",
    background: float = 0.0,
) -> npt.NDArray[Any]:
    """Values of a volume on another grid.

    Args:
        volume: Source.
        onto: Grid of the result.
        matrix: (4, 4) from the world of `onto` to the world of the volume (RAS, mm).
        interpolation: "linear"; "bspline", cubic and clipped to the range of the source; "label"
            for integers, of which each voxel takes the one that fills most of it.
        background: Value outside the volume; see `covered`.

    Returns:
        float32 of shape `onto.shape`; with "label" the type of the source.
    """
    pull = _pull(volume.grid, onto, matrix)
    outside = ~_inside(pull, volume.grid.shape, onto.shape)
    if interpolation == "label":
        result = _most_frequent(volume.values, pull, onto.shape)
    else:
        order: Literal[1, 3] = 3 if interpolation == "bspline" else 1
        result = averaged(volume.values, pull, onto.shape, order)
    result[outside] = background
    return result


def covered(grid: Grid, onto: Grid, matrix: Affine) -> npt.NDArray[np.bool_]:
    """Mask of the voxels of `onto` whose centres lie inside the voxels of `grid`.

    Args:
        grid: Grid of the source.
        onto: Grid of the mask.
        matrix: (4, 4) from the world of `onto` to the world of `grid` (RAS, mm).
    """
    return _inside(_pull(grid, onto, matrix), grid.shape, onto.shape)


def averaged(
    values: npt.NDArray[Any], pull: Affine, shape: tuple[int, int, int], order: Literal[1, 3] = 1
) -> npt.NDArray[np.float32]:
    """Values at the voxels of a new grid, averaged over each voxel where voxels become larger.

    Args:
        values: (I, J, K); beyond its border it continues with the nearest values.
        pull: (4, 4) from voxel indices of the new grid to those of `values`.
        shape: Shape of the new grid.
        order: 1 is linear, 3 is a cubic B-spline, clipped to the range of the values.
    """
    source = values.astype(np.float32, copy=False)
    if order > 1:
        source = ndimage.spline_filter(source, order, np.dtype(np.float32), mode="nearest")
    total, part = np.zeros(shape, np.float32), np.empty(shape, np.float32)
    offsets = list(_offsets(pull))
    for offset in offsets:
        start = pull[:3, :3] @ offset + pull[:3, 3]
        ndimage.affine_transform(
            source, pull[:3, :3], start, output=part, order=order, mode="nearest", prefilter=False
        )
        total += part
    total /= len(offsets)
    if order > 1:
        np.clip(total, values.min(), values.max(), out=total)
    return total


def _pull(grid: Grid, onto: Grid, matrix: Affine) -> Affine:
    """Matrix (4, 4) from voxel indices of `onto` to voxel indices of `grid`."""
    pull: Affine = np.linalg.inv(grid.affine) @ matrix @ onto.affine
    return pull


def _offsets(pull: Affine) -> Iterator[npt.NDArray[np.float64]]:
    """Points inside a new voxel, in new voxels from its centre, at least one per old voxel."""
    # The largest step along any old axis: at an angle, a new step spans parts of old voxels.
    spans = np.abs(pull[:3, :3]).max(axis=0)
    counts = [math.ceil(span - 0.01) if span >= _SPANNED else 1 for span in spans]
    for places in itertools.product(*(range(count) for count in counts)):
        yield (np.array(places) + 0.5) / counts - 0.5


def _inside(
    pull: Affine, shape: tuple[int, int, int], new_shape: tuple[int, int, int]
) -> npt.NDArray[np.bool_]:
    """Mask of the new voxels whose centres lie inside the old voxels."""
    inside = np.ones(new_shape, np.bool_)
    steps = [np.arange(size, dtype=np.float32) for size in new_shape]
    for row, size in zip(pull[:3].astype(np.float32), shape, strict=True):
        i, j, k = (step * weight for step, weight in zip(steps, row, strict=False))
        place = i[:, None, None] + j[:, None] + (k + row[3])
        inside &= (place >= -0.5) & (place <= size - 0.5)
    return inside


def _most_frequent(
    labels: npt.NDArray[Any], pull: Affine, shape: tuple[int, int, int]
) -> npt.NDArray[Any]:
    """The label that fills most of each new voxel."""
    result = np.zeros(shape, labels.dtype)
    largest = np.zeros(shape, np.float32)
    for label in np.unique(labels):
        share = averaged(labels == label, pull, shape)
        result[share > largest] = label
        np.maximum(largest, share, out=largest)
    return result
