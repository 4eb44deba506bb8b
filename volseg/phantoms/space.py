"""The voxels of a head in mm, smooth noise on them, and ellipsoids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Field = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]
# Axes point to the patient's left, back and top, as in the files of BraTS. A head of any shape and
# spacing has this size, so coarse and fine phantoms look alike.
_HEAD_MM = (240.0, 240.0, 156.0)


class Space:
    """The voxels of a head, in mm from its centre, and smooth noise on them."""

    def __init__(self, rng: np.random.Generator, shape: Sequence[int]) -> None:
        self.rng = rng
        self.shape = tuple(shape)
        self.steps = [mm / count for mm, count in zip(_HEAD_MM, shape, strict=True)]
        self.axes = [
            (np.arange(count, dtype=np.float32) - (count - 1) / 2) * step
            for count, step in zip(shape, self.steps, strict=True)
        ]
        self.points = np.meshgrid(*self.axes, indexing="ij", sparse=True)
        self.voxel_ml = float(np.prod(self.steps)) / 1000

    def noise(self, length_mm: float) -> Field:
        """Gaussian noise of standard deviation 1 that varies over about `length_mm`."""
        weights = []
        for axis in self.axes:
            knots = np.arange(axis[0] - 2 * length_mm, axis[-1] + 2 * length_mm, length_mm)
            distance = (axis[:, None] - knots.astype(np.float32)) / (0.8 * length_mm)
            weights.append(np.exp(-0.5 * distance**2))
        field = self.rng.standard_normal([w.shape[1] for w in weights], dtype=np.float32)
        for weight in weights:
            # Each product moves its axis to the end, so three products restore the order.
            field = np.tensordot(field, weight, axes=(0, 1))
        return field / field.std()

    def at(self, field: Field, points: Sequence[Field]) -> Field:
        """Values of a field at `points`, interpolated linearly."""
        index = [
            p / step + (count - 1) / 2
            for p, step, count in zip(points, self.steps, self.shape, strict=True)
        ]
        return ndimage.map_coordinates(field, index, order=1, mode="nearest")


def distance(points: Sequence[Field], centre: Sequence[float]) -> Field:
    """Distance of points from a centre, in mm."""
    return np.sqrt(sum((p - c) ** 2 for p, c in zip(points, centre, strict=True)))


def ellipsoid(points: Sequence[Field], centre: Sequence[float], radii: Sequence[Any]) -> Field:
    """Approximate depth in mm below the surface of an ellipsoid; negative outside."""
    scaled = [(p - c) / r for p, c, r in zip(points, centre, radii, strict=True)]
    mean_radius = float(np.mean([np.mean(r) for r in radii]))
    return (1 - np.sqrt(sum(s**2 for s in scaled))) * mean_radius
