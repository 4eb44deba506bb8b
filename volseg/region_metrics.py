"""Scores of regions as `torchmetrics.Metric`s, for any Lightning module.

Counts stay on the device of the batches and are summed over ranks; scores of lesions are computed
on the CPU. The arithmetic and the policy for empty masks are in `volseg.metrics`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torchmetrics import Metric

from volseg.labels import get_scheme
from volseg.metrics import (
    Overlap,
    RegionPair,
    Score,
    get_protocol,
    get_score,
    lesionwise_scores,
)

Average = Literal["voxels", "cases"]


class RegionCounts(Metric):
    """Voxel counts of each region, summed over batches: in both, in prediction, in reference.

    Args:
        regions: Names of the R regions.
        threshold: Smallest probability of a predicted voxel, in (0, 1); a number, or one for each
            region.
        probabilities: Whether predictions that are not boolean are probabilities; else logits.
        kwargs: Arguments of `torchmetrics.Metric`.

    Attributes:
        voxels: Counts of voxels in both, in the prediction and in the reference, (3, R).
    """

    full_state_update = False
    is_differentiable = False
    voxels: torch.Tensor

    def __init__(
        self,
        regions: Sequence[str],
        threshold: float | Sequence[float] = 0.5,
        *,
        probabilities: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.regions = tuple(regions)
        by_region = threshold if isinstance(threshold, Sequence) else [threshold]
        for value in by_region:
            if not 0 < value < 1:
                raise ValueError(f"threshold must lie between 0 and 1, got {value}")
        # The thresholds of logits, so that no sigmoid is needed.
        least = [value if probabilities else math.log(value / (1 - value)) for value in by_region]
        self.least = least[0] if len(set(least)) == 1 else torch.tensor(least)
        empty = torch.zeros(3, len(self.regions), dtype=torch.int64)
        self.add_state("voxels", empty, dist_reduce_fx="sum")

    @torch.no_grad()
    def update(self, prediction: torch.Tensor, reference: torch.Tensor) -> None:
        """Count a batch.

        Args:
            prediction: Boolean masks, logits or probabilities, (B, R, I, J[, K]); regions are not
                nested here, unlike in `volseg infer`.
            reference: Masks of the same shape, boolean or 0 and 1.

        Raises:
            ValueError: If the shapes differ or do not have R regions.
        """
        # The counts stay on the GPU, so that nothing waits for it.
        axes = [0, *range(2, prediction.ndim)]
        self.voxels = self.voxels + self.counted(prediction, reference, axes)

    def compute(self) -> dict[str, torch.Tensor]:
        """`{region: (tp, fp, fn)}` over all ranks; see `Overlap`."""
        both, predicted, expected = self.voxels
        counts = torch.stack([both, predicted - both, expected - both], dim=1)
        return dict(zip(self.regions, counts, strict=True))

    def overlaps(self) -> dict[str, Overlap]:
        """Overlap of each region, counted on this rank."""
        return _overlaps(self.regions, self.voxels.tolist())

    def counted(
        self, prediction: torch.Tensor, reference: torch.Tensor, axes: list[int]
    ) -> torch.Tensor:
        """Counts of voxels in both, in the prediction and in the reference, along `axes`."""
        self._check(prediction, reference)
        predicted = self._at_threshold(prediction)
        expected = reference if reference.dtype == torch.bool else reference > 0.5
        sides = (predicted & expected, predicted, expected)
        return torch.stack([torch.count_nonzero(side, axes) for side in sides])

    def _at_threshold(self, prediction: torch.Tensor) -> torch.Tensor:
        if prediction.dtype == torch.bool:
            return prediction
        least = self.least
        if isinstance(least, torch.Tensor):
            least = least.to(prediction.device).view(-1, *[1] * (prediction.ndim - 2))
        return prediction >= least

    def _check(self, prediction: torch.Tensor, reference: torch.Tensor) -> None:
        if prediction.shape != reference.shape:
            raise ValueError(
                f"prediction and reference must have one shape, got {tuple(prediction.shape)} and "
                f"{tuple(reference.shape)}"
            )
        if prediction.ndim < 3 or prediction.shape[1] != len(self.regions):
            raise ValueError(
                f"masks must have shape (B, {len(self.regions)}, I, J[, K]), a channel for each of "
                f"{', '.join(self.regions)}, got {tuple(prediction.shape)}"
            )


class RegionScore(RegionCounts):
    """A score of each region, from counts of voxels.

    Args:
        score: Name of one of `volseg.metrics.COUNTED_SCORES`, such as `precision`.
        regions: Names of the R regions.
        threshold: Smallest probability of a predicted voxel, in (0, 1).
        average: `cases`: mean over the items of all batches, each item a whole case. `voxels`:
            score of the voxels of all batches together, for items that are patches.
        probabilities: Whether predictions that are not boolean are probabilities; else logits.
        kwargs: Arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: If the score needs more than counts of voxels, or `average` is not known.
    """

    totals: torch.Tensor
    cases: torch.Tensor

    def __init__(
        self,
        score: str,
        regions: Sequence[str],
        threshold: float = 0.5,
        *,
        average: Average = "cases",
        probabilities: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(regions, threshold, probabilities=probabilities, **kwargs)
        if average not in {"cases", "voxels"}:
            raise ValueError(f"average must be 'cases' or 'voxels', got {average!r}")
        self.score = get_score(score)
        if not self.score.counted:
            raise ValueError(f"{score} cannot be computed from counts of voxels")
        self.average = average
        # mps has no float64.
        exact = torch.float32 if torch.backends.mps.is_available() else torch.float64
        totals = torch.zeros(len(self.regions), dtype=exact)
        self.add_state("totals", totals, dist_reduce_fx="sum")
        self.add_state("cases", torch.tensor(0), dist_reduce_fx="sum")

    @property
    def higher_is_better(self) -> bool | None:  # type: ignore[override]
        """Whether a higher score is better, by the registry of scores; None for a size."""
        return {"higher": True, "lower": False}.get(self.score.better)

    @torch.no_grad()
    def update(self, prediction: torch.Tensor, reference: torch.Tensor) -> None:
        if self.average == "voxels":
            super().update(prediction, reference)
            return
        counts = self.counted(prediction, reference, list(range(2, prediction.ndim)))
        for case in counts.unbind(1):
            scores = scores_of(_overlaps(self.regions, case.tolist()), self.score)
            self.totals = self.totals + self.totals.new_tensor(list(scores.values()))
            self.cases = self.cases + 1

    def compute(self) -> dict[str, torch.Tensor]:
        """`{region: score}`; NaN before the first case."""
        if self.average == "voxels":
            scores = list(scores_of(self.overlaps(), self.score).values())
            values = self.totals.new_tensor(scores)
        else:
            values = self.totals / self.cases
        return dict(zip(self.regions, values, strict=True))


class RegionDice(RegionScore):
    """Dice of each region, `compute() -> {"WT": ..., "TC": ..., "ET": ...}`; see `RegionScore`.

    Examples:
        >>> dice = RegionDice(["WT", "ET"])
        >>> prediction = torch.tensor([[[[True, True]], [[False, False]]]])
        >>> reference = torch.tensor([[[[True, False]], [[False, False]]]])
        >>> dice.update(prediction, reference)
        >>> {region: round(float(value), 3) for region, value in dice.compute().items()}
        {'WT': 0.667, 'ET': 1.0}
    """

    def __init__(self, regions: Sequence[str], threshold: float = 0.5, **kwargs: Any) -> None:
        super().__init__("dice", regions, threshold, **kwargs)


class RegionIoU(RegionScore):
    """Intersection over union of each region; see `RegionScore`."""

    def __init__(self, regions: Sequence[str], threshold: float = 0.5, **kwargs: Any) -> None:
        super().__init__("iou", regions, threshold, **kwargs)


class LesionwiseScore(Metric):
    """A score of an official protocol by region: mean over the cases of all batches and ranks.

    The cases are copied to the CPU and scored there by `volseg.metrics.lesionwise_scores`, which
    takes a second or so for a full-size case.

    Args:
        protocol: Name of the protocol, such as `brats2023-gli`.
        score: Name of one of its scores, such as `lesion_hd95_mm`.
        kwargs: Arguments of `torchmetrics.Metric`.

    Raises:
        ConfigError: If there is no protocol of this name.
        ValueError: If the protocol has no such score.

    Examples:
        >>> metric = LesionwiseScore("brats2023-gli")
        >>> reference = torch.zeros(1, 9, 9, 9, dtype=torch.uint8)
        >>> reference[:, 2:7, 2:7, 2:7] = 3
        >>> metric.update(reference, reference)
        >>> {region: float(value) for region, value in metric.compute().items()}
        {'WT': 1.0, 'TC': 1.0, 'ET': 1.0}
    """

    full_state_update = False
    is_differentiable = False
    totals: torch.Tensor
    cases: torch.Tensor

    def __init__(self, protocol: str, score: str = "lesion_dice", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.protocol = get_protocol(protocol)
        scores = {each.name: each for each in self.protocol.scores}
        if score not in scores:
            raise ValueError(f"{protocol} has no score {score!r}, only {', '.join(scores)}")
        self.score = scores[score]
        self.regions = tuple(self.protocol.regions)
        exact = torch.float32 if torch.backends.mps.is_available() else torch.float64
        for state, dtype in (("totals", exact), ("cases", torch.int64)):
            empty = torch.zeros(len(self.regions), dtype=dtype)
            self.add_state(state, empty, dist_reduce_fx="sum")

    @property
    def higher_is_better(self) -> bool | None:  # type: ignore[override]
        """Whether a higher score is better; None for a size."""
        return {"higher": True, "lower": False}.get(self.score.better)

    @torch.no_grad()
    def update(
        self,
        prediction: torch.Tensor,
        reference: torch.Tensor,
        spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> None:
        """Score the cases of a batch, each a whole case.

        Args:
            prediction: Label maps (B, I, J, K) of integers in the label scheme of the protocol, or
                boolean masks (B, R, I, J, K) of the R regions of that scheme, in its order.
            reference: Label maps or masks of the same shape.
            spacing_mm: Voxel size of the cases along the three axes in mm.

        Raises:
            ValueError: If a tensor is neither, or the shapes differ.
        """
        for sides in zip(prediction, reference, strict=True):
            predicted, expected = map(self._label_map, sides)
            found = lesionwise_scores(expected, predicted, spacing_mm, self.protocol)
            for row, region in enumerate(self.regions):
                # A protocol may leave a score of a case open, such as a mean over no lesion.
                if (value := found[region].scores[self.score.name]) is not None:
                    self.totals[row] += value
                    self.cases[row] += 1

    def compute(self) -> dict[str, torch.Tensor]:
        """`{region: mean score}`; NaN without a case that has the score."""
        return dict(zip(self.regions, self.totals / self.cases, strict=True))

    def _label_map(self, case: torch.Tensor) -> npt.NDArray[Any]:
        array = case.cpu().numpy()
        if array.dtype != np.bool_:
            return array
        scheme = get_scheme(self.protocol.scheme)
        if array.ndim != 4 or len(array) != len(scheme.regions):
            raise ValueError(
                f"masks must have shape (B, {len(scheme.regions)}, I, J, K), a channel for each of "
                f"{', '.join(scheme.regions)}, got {tuple(case.shape)} without B"
            )
        return scheme.label_map(dict(zip(scheme.regions, array, strict=True)))


def scores_of(overlaps: Mapping[str, Overlap], score: Score) -> dict[str, float]:
    """Values of a score by region, from the counts of each region."""
    values = {region: score.compute(RegionPair(of)) for region, of in overlaps.items()}
    return {region: value for region, value in values.items() if value is not None}


def _overlaps(regions: Sequence[str], voxels: Sequence[Sequence[int]]) -> dict[str, Overlap]:
    return {
        region: Overlap(both, predicted - both, expected - both)
        for region, both, predicted, expected in zip(regions, *voxels, strict=True)
    }
