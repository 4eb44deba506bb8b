"""Lesion-wise scores as the BraTS programs of 2023 to 2025 count them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from volseg.images.boxes import bounding_box, union
from volseg.metrics.lesion_parts import Parts
from volseg.metrics.lesions import FalsePositive, Lesion, RegionScores
from volseg.metrics.overlap import Mask, Overlap
from volseg.metrics.protocols import Protocol, RegionRule
from volseg.metrics.surface_elements import Numbers, area_hd95_mm
from volseg.metrics.whole_regions import Spacing, counted_scores, volume_mm3


def score_lesions(
    reference: npt.NDArray[np.integer],
    prediction: npt.NDArray[np.integer],
    spacing_mm: Spacing,
    protocol: Protocol,
) -> dict[str, RegionScores]:
    """Scores of each region of two label maps (I, J, K); see `lesionwise_scores`."""
    scores = {}
    for region, rule in protocol.regions.items():
        masks = [np.isin(side, rule.labels) for side in (reference, prediction)]
        scores[region] = _scored(masks[0], masks[1], spacing_mm, protocol, rule)
    return scores


def _scored(
    reference: Mask, prediction: Mask, spacing_mm: Spacing, protocol: Protocol, rule: RegionRule
) -> RegionScores:
    # Outside the box nothing is within reach; the box is fast, as tumours are small.
    box = bounding_box(reference | prediction, rule.dilation)
    expected, predicted = (np.ascontiguousarray(mask[box]) for mask in (reference, prediction))
    corner = tuple(side.start for side in box)
    pairs = Matching(
        Parts.of(expected, rule.dilation, corner), Parts.of(predicted, 0, corner), spacing_mm
    )
    lesions = [pairs.lesion(number, rule.threshold_mm3) for number in range(1, pairs.lesions.n + 1)]
    false = [pairs.false_positive(number) for number in pairs.free]
    penalty_mm = protocol.penalty_mm or 0.0
    values = {
        **_lesionwise(lesions, len(false), penalty_mm),
        **counted_scores(Overlap.of(predicted, expected), reference.size, spacing_mm),
        "legacy_hd95_mm": _whole_hd95_mm(expected, predicted, spacing_mm, penalty_mm),
    }
    scores = {score.name: values[score.name] for score in protocol.scores}
    return RegionScores(scores, tuple(lesions), tuple(false))


@dataclass(frozen=True)
class Matching:
    """Lesions and predicted components of one region, and which of them belong together."""

    lesions: Parts
    found: Parts
    spacing_mm: Spacing

    @cached_property
    def shared(self) -> dict[int, dict[int, int]]:
        """By lesion, the components that its dilation touches, with their voxels in the lesion."""
        shared: dict[int, dict[int, int]] = {}
        of_found = self.found.numbers > 0
        found = self.found.numbers[of_found].astype(np.int64)
        touching = self.lesions.reach[of_found].astype(np.int64)
        inside = self.lesions.numbers[of_found] > 0
        keys = (touching * (self.found.n + 1) + found) * 2 + inside
        keys, counts = np.unique(keys, return_counts=True)
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            lesion, component = divmod(key // 2, self.found.n + 1)
            of_lesion = shared.setdefault(lesion, {})
            of_lesion[component] = of_lesion.get(component, 0) + count * (key % 2)
        return shared

    @property
    def free(self) -> list[int]:
        """Numbers of the components that no lesion touches."""
        touched = {component for lesion, of in self.shared.items() if lesion for component in of}
        return [number for number in range(1, self.found.n + 1) if number not in touched]

    def lesion(self, number: int, threshold_mm3: float) -> Lesion:
        """A lesion with its scores."""
        components = self.shared.get(number, {})
        size_mm3 = volume_mm3(int(self.lesions.sizes[number]), self.spacing_mm)
        dice, hd95_mm = 0.0, None
        if components:
            predicted = sum(int(self.found.sizes[each]) for each in components)
            voxels = int(self.lesions.sizes[number]) + predicted
            dice = 2 * sum(components.values()) / voxels
            hd95_mm = area_hd95_mm(*self._masks(number, list(components)), self.spacing_mm)
        return Lesion(
            size_mm3,
            len(components),
            dice,
            hd95_mm,
            {},
            size_mm3 > threshold_mm3,
            self.lesions.centre(number),
        )

    def _masks(self, lesion: int, components: Sequence[int]) -> tuple[Numbers, Numbers]:
        """A lesion and components as 0 and 1, in the box around them."""
        boxes = [self.lesions.boxes[lesion - 1], *(self.found.boxes[c - 1] for c in components)]
        box = union(boxes)
        chosen = np.zeros(self.found.n + 1, np.uint8)
        chosen[list(components)] = 1
        of_lesion = self.lesions.numbers[box] == lesion
        return of_lesion.view(np.uint8), chosen[self.found.numbers[box]]

    def false_positive(self, number: int) -> FalsePositive:
        """A component that belongs to no lesion."""
        size_mm3 = volume_mm3(int(self.found.sizes[number]), self.spacing_mm)
        return FalsePositive(size_mm3, self.found.centre(number))


def _lesionwise(lesions: Sequence[Lesion], n_false: int, penalty_mm: float) -> dict[str, float]:
    counted = [lesion for lesion in lesions if lesion.counts]
    hits = sum(lesion.n_predicted > 0 for lesion in counted)
    n = len(counted) + n_false
    distances = (penalty_mm if each.hd95_mm is None else each.hd95_mm for each in counted)
    return {
        "lesion_dice": sum(lesion.dice for lesion in counted) / n if n else 1.0,
        "lesion_hd95_mm": (sum(distances) + n_false * penalty_mm) / n if n else 0.0,
        "lesion_f1": 2 * hits / (hits + n) if n else 1.0,
        "true_positives": hits,
        "false_positives": n_false,
        "missed_lesions": len(counted) - hits,
    }


def _whole_hd95_mm(
    expected: Mask, predicted: Mask, spacing_mm: Spacing, penalty_mm: float
) -> float:
    found = expected.any(), predicted.any()
    if not all(found):
        return penalty_mm if any(found) else 0.0
    return area_hd95_mm(expected.view(np.uint8), predicted.view(np.uint8), spacing_mm)
