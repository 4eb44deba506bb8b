"""Distances between the borders of two masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree

from volseg.metrics.overlap import Mask

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
        here, there = (np.argwhere(mask & ~binary_erosion(mask)) for mask in (one, other))
        size = np.asarray(steps, dtype=np.float64)
        return cls(_nearest(here, there, size), _nearest(there, here, size))

    def percentile(self, percent: float) -> float:
        """Percentile of the distances of both masks together, with interpolation."""
        return float(np.percentile(np.concatenate((self.forth, self.back)), percent))

    def share_within(self, tolerance: float) -> float:
        """Share of the border within a tolerance of the other border, mean of both masks."""
        return sum(float(np.mean(side <= tolerance)) for side in (self.forth, self.back)) / 2


def _nearest(asked: npt.NDArray[np.integer], known: npt.NDArray[np.integer], size: Reals) -> Reals:
    tree = cKDTree(known * size, leafsize=32, balanced_tree=False, compact_nodes=False)
    nearest = tree.query(asked * size)[1]
    # Whole numbers of voxels are exact, so a distance of one voxel equals a tolerance of one.
    steps = asked - known[nearest]
    return np.asarray(np.sqrt(np.square(steps * size).sum(axis=1)))
