"""Calibration of probabilities: observed shares by predicted probability, and their difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Number of equal intervals from 0 to 1.
BINS = 10


@dataclass(frozen=True, eq=False)
class Reliability:
    """Voxels of one region by predicted probability; those of several cases can be added.

    Attributes:
        voxels: Number (BINS,) of voxels with a probability in each interval.
        probability: Sum (BINS,) of their probabilities.
        positives: Number (BINS,) of them in the reference.
    """

    voxels: npt.NDArray[np.float64]
    probability: npt.NDArray[np.float64]
    positives: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls, probabilities: npt.NDArray[np.floating], reference: npt.NDArray[np.bool_]
    ) -> Reliability:
        """Counts of the voxels of one case.

        Args:
            probabilities: Predicted probabilities, 0 to 1, any shape.
            reference: Mask of the same shape.

        Raises:
            ValueError: If the shapes differ.
        """
        if probabilities.shape != reference.shape:
            raise ValueError(
                f"probabilities have shape {probabilities.shape}, reference {reference.shape}"
            )
        flat = probabilities.ravel().astype(np.float64)
        bins = np.clip((flat * BINS).astype(np.intp), 0, BINS - 1)
        return cls(
            np.bincount(bins, minlength=BINS).astype(np.float64),
            np.bincount(bins, flat, BINS).astype(np.float64),
            np.bincount(bins, reference.ravel().astype(np.float64), BINS).astype(np.float64),
        )

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(
            self.voxels + other.voxels,
            self.probability + other.probability,
            self.positives + other.positives,
        )

    @property
    def curve(self) -> list[tuple[float, float]]:
        """Mean probability and observed share of each interval with voxels."""
        used = self.voxels > 0
        pairs = self.probability[used] / self.voxels[used], self.positives[used] / self.voxels[used]
        return [(float(mean), float(share)) for mean, share in zip(*pairs, strict=True)]

    @property
    def ece(self) -> float:
        """Expected calibration error: mean over voxels of |observed share - mean probability|. [1]

        Each voxel counts with the difference of its interval; 0 without voxels.

        References:
            [1] Guo et al., "On calibration of modern neural networks", ICML 2017.
                https://proceedings.mlr.press/v70/guo17a.html

        Examples:
            >>> certain = Reliability.of(np.array([1.0, 1.0, 0.0, 0.0]), np.array([True] * 4))
            >>> certain.ece
            0.5
        """
        total = self.voxels.sum()
        return float(abs(self.positives - self.probability).sum() / total) if total else 0.0
