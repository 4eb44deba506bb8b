"""Calibration of probabilities: observed shares by predicted probability, and their difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from volseg.images.boxes import bounding_box

#: Number of equal intervals from 0 to 1.
BINS = 10
#: Voxels around a region that are counted too.
MARGIN = 10
#: The expected calibration error, in words.
ECE_IN_WORDS = "mean difference between predicted probability and observed share"


def counted_box(
    probabilities: npt.NDArray[np.floating], reference: npt.NDArray[np.bool_]
) -> tuple[slice, ...]:
    """Box whose voxels are counted: around a region in prediction or reference, with a margin.

    Elsewhere probabilities are near 0, and so many that they would hide all others.
    """
    return bounding_box((probabilities >= 0.5) | reference, MARGIN)


@dataclass(frozen=True)
class Interval:
    """Voxels of one interval of probability.

    Attributes:
        low: Lower limit, included.
        high: Upper limit, included in the last interval alone.
        voxels: Number of voxels.
        probability: Mean of their probabilities; None without voxels.
        share: Share of them in the reference; None without voxels.
    """

    low: float
    high: float
    voxels: int
    probability: float | None
    share: float | None


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
        return cls.of_counts(flat, np.ones(len(flat)), reference.ravel().astype(np.float64))

    @classmethod
    def of_counts(
        cls,
        probabilities: npt.NDArray[np.float64],
        voxels: npt.NDArray[np.float64],
        positives: npt.NDArray[np.float64],
    ) -> Reliability:
        """Counts of voxels that are already counted by probability, (n,) each.

        Args:
            probabilities: Predicted probabilities, 0 to 1.
            voxels: Number of voxels with each probability.
            positives: Number of them in the reference.
        """
        bins = np.clip((probabilities * BINS).astype(np.intp), 0, BINS - 1)
        sums = (voxels, voxels * probabilities, positives)
        return cls(*(np.bincount(bins, of, BINS).astype(np.float64) for of in sums))

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(
            self.voxels + other.voxels,
            self.probability + other.probability,
            self.positives + other.positives,
        )

    @property
    def rows(self) -> list[Interval]:
        """The intervals, ascending."""
        return [
            Interval(
                low=number / BINS,
                high=(number + 1) / BINS,
                voxels=int(self.voxels[number]),
                probability=float(self.probability[number] / self.voxels[number]),
                share=float(self.positives[number] / self.voxels[number]),
            )
            if self.voxels[number]
            else Interval(number / BINS, (number + 1) / BINS, 0, None, None)
            for number in range(BINS)
        ]

    @property
    def curve(self) -> list[tuple[float, float]]:
        """Mean probability and observed share of each interval with voxels."""
        return [
            (row.probability, row.share)
            for row in self.rows
            if row.probability is not None and row.share is not None
        ]

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
