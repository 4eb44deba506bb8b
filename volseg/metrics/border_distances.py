"""Distances between the borders of two masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from volseg.metrics.overlap import Mask

Points = npt.NDArray[np.integer]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BorderDistances:
    """Distance from each border voxel of each of two masks to the border of the other.

    The border of a mask consists of its voxels with a face neighbour outside the mask; beyond the
    array everything is outside.
    """

    forth: Reals
    back: Reals

    @classmethod
    def of(cls, one: Mask, other: Mask, steps: Sequence[float]) -> BorderDistances:
        """Distances of two masks of one shape that are not empty, in the unit of `steps`."""
        here, there = (np.argwhere(border(mask)) for mask in (one, other))
        return cls(nearest_distances(here, there, steps), nearest_distances(there, here, steps))

    def percentile(self, percent: float) -> float:
        """Percentile of the distances of both masks together, with interpolation."""
        return float(np.percentile(np.concatenate((self.forth, self.back)), percent))

    def share_within(self, tolerance: float) -> float:
        """Share of the border within a tolerance of the other border, mean of both masks."""
        return sum(self.shares_within(tolerance)) / 2

    def shares_within(self, tolerance: float) -> tuple[float, float]:
        """Share of the border of each mask within a tolerance of the other border."""
        return float(np.mean(self.forth <= tolerance)), float(np.mean(self.back <= tolerance))


def border(mask: Mask) -> Mask:
    """Voxels of a mask with a face neighbour outside it or beyond the array."""
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis in range(mask.ndim):
        for start in (0, 2):
            neighbour = [slice(1, -1)] * mask.ndim
            neighbour[axis] = slice(start, start + mask.shape[axis])
            inner &= padded[tuple(neighbour)]
    return mask & ~inner


def nearest_distances(here: Points, there: Points, steps: Sequence[float]) -> Reals:
    """Distance of each point to the nearest point of the other side, in the unit of `steps`.

    Args:
        here: Indices (n, axes) of points on the grid.
        there: Indices of the points of the other side.
        steps: Distance of neighbouring points along each axis.
    """
    size = np.asarray(steps, dtype=np.float64)
    # A plain tree is built faster than a balanced tree, and its queries are as fast.
    tree = cKDTree(there * size, leafsize=32, balanced_tree=False, compact_nodes=False)
    nearest = tree.query(here * size)[1]
    # Whole numbers of voxels are exact: equal distances come out equal, one voxel as its size.
    return np.asarray(np.sqrt(np.square((here - there[nearest]) * size).sum(axis=1)))
