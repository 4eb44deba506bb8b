"""Distances between points of a grid, and between the borders of two masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from volseg.metrics.overlap import Mask

Points = npt.NDArray[np.integer]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GridPoints:
    """Points of a grid, among which the nearest to other points is searched.

    Attributes:
        indices: Indices (n, axes) of the points.
        steps: Distance of neighbouring points along each axis.
    """

    indices: Points
    steps: Sequence[float]

    def __getitem__(self, chosen: slice | Points) -> GridPoints:
        return GridPoints(self.indices[chosen], self.steps)

    def distances_from(self, here: Points) -> Reals:
        """Distance of each of other points (m, axes) to the nearest of these, like `steps`."""
        size = np.asarray(self.steps, dtype=np.float64)
        nearest = self._tree.query(here * size)[1]
        # Whole numbers of voxels are exact: equal distances come out equal, one voxel as its size.
        return np.asarray(np.sqrt(np.square((here - self.indices[nearest]) * size).sum(axis=1)))

    @cached_property
    def _tree(self) -> cKDTree:
        # A plain tree is built faster than a balanced tree, and its queries are as fast.
        points = self.indices * np.asarray(self.steps, dtype=np.float64)
        return cKDTree(points, leafsize=32, balanced_tree=False, compact_nodes=False)


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
        return cls.between(border(one), border(other), steps)

    @classmethod
    def between(cls, one: Mask, other: Mask, steps: Sequence[float]) -> BorderDistances:
        """Distances of two masks of border voxels that are not empty."""
        here, there = (GridPoints(np.argwhere(mask), steps) for mask in (one, other))
        return cls(there.distances_from(here.indices), here.distances_from(there.indices))

    def percentile(self, percent: float) -> float:
        """Percentile of the distances of both masks together, with interpolation."""
        return float(np.percentile(np.concatenate((self.forth, self.back)), percent))

    def share_within(self, tolerance: float) -> float:
        """Share of the border within a tolerance of the other border, mean of both masks."""
        return sum(float(np.mean(side <= tolerance)) for side in (self.forth, self.back)) / 2


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
