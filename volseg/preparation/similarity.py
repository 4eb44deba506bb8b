"""Similarity of two images of any contrast at a given place: mutual information of their values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from volseg.images.grid import Affine
from volseg.preparation.volume import Volume

_BINS = 32
# Values beyond these percentiles share a bin with them, so that a few bright vessels do not count.
_RANGE = (0.5, 99.5)


@dataclass(frozen=True)
class Similarity:
    """Similarity at a place.

    Attributes:
        normalised: Normalised mutual information of Studholme et al. (Pattern Recognition 32(1),
            1999), which depends little on the overlap: 1 for independent images, 2 for equal ones.
        overlap: Share of the samples that lie inside the moving image.
    """

    normalised: float
    overlap: float


class Samples:
    """Samples of a fixed image, to be compared with a moving image at many places.

    Args:
        fixed: Fixed image.
        mask: Voxels (I, J, K) of the fixed image that are compared.
        moving: Moving image.
        count: Largest number of samples.
        seed: Of their choice.
    """

    def __init__(
        self,
        fixed: Volume,
        mask: npt.NDArray[np.bool_],
        moving: Volume,
        count: int = 20_000,
        seed: int = 0,
    ) -> None:
        chosen = np.flatnonzero(mask)
        if len(chosen) > count:
            chosen = np.sort(np.random.default_rng(seed).choice(chosen, count, replace=False))
        index = np.array(np.unravel_index(chosen, mask.shape), np.float64)
        self.points = fixed.grid.affine[:3, :3] @ index + fixed.grid.affine[:3, 3:]
        self._bins = _binned(fixed.values.ravel()[chosen], *_limits(fixed.values[mask]))
        self._moving = moving.values.astype(np.float32, copy=False)
        self._limits = _limits(self._moving)
        self._to_voxels = np.linalg.inv(moving.grid.affine)

    def at(self, matrix: Affine) -> Similarity:
        """Similarity where `matrix` leads from the fixed to the moving world."""
        pull = self._to_voxels @ matrix
        places = pull[:3, :3] @ self.points + pull[:3, 3:]
        shape = np.array(self._moving.shape)[:, None]
        inside = ((places >= -0.5) & (places <= shape - 0.5)).all(axis=0)
        overlap = float(inside.mean()) if inside.size else 0.0
        if not inside.any():
            return Similarity(1.0, overlap)
        values = ndimage.map_coordinates(
            self._moving, places[:, inside], order=1, mode="nearest", output=np.float32
        )
        return Similarity(_normalised(self._bins[inside], _binned(values, *self._limits)), overlap)


def _limits(values: npt.NDArray[np.floating]) -> tuple[float, float]:
    low, high = np.percentile(values, _RANGE)
    return float(low), float(high)


def _binned(values: npt.NDArray[np.floating], low: float, high: float) -> npt.NDArray[np.intp]:
    scaled = (values.astype(np.float64) - low) * (_BINS / max(high - low, 1e-12))
    return np.clip(scaled, 0, _BINS - 1).astype(np.intp)


def _normalised(first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]) -> float:
    joint = np.bincount(first * _BINS + second, minlength=_BINS**2).reshape(_BINS, _BINS)
    both = _entropy(joint.ravel())
    return (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / both if both else 1.0


def _entropy(counts: npt.NDArray[np.integer]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
