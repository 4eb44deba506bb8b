"""Scores as the BraTS program of 2026 counts them: a lesion is matched to one component at most.

Lesions and predicted components are the 26-connected components of a region. They are matched one
to one so that the sum of their Dice is largest.

Two properties of the program [1] are kept, as its figures follow from them. Distances of whole
regions are in voxels. Distances of lesions are in mm, but with the voxel sizes along the first and
last axis exchanged, so they are wrong where these differ.

References:
    [1] brats-evaluation 0.0.10, https://pypi.org/project/brats-evaluation
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from volseg.images.boxes import bounding_box, union
from volseg.labels import get_scheme
from volseg.metrics.border_distances import BorderDistances
from volseg.metrics.official.matching_one_to_one import Match, best_matches
from volseg.metrics.official.means_2026 import PENALTY, Values, of_matches, of_sizes
from volseg.metrics.official.parts import Parts
from volseg.metrics.official.protocol import Protocol
from volseg.metrics.official.region_scores import FalsePositive, Lesion, RegionScores
from volseg.metrics.official.voxels import LabelMap, Spacing, volume_mm3
from volseg.metrics.overlap import Mask, Overlap

_LEAST_DICE = 1e-6
_TOLERANCE_VOXELS = 0.5


def score_matches(
    reference: LabelMap, prediction: LabelMap, spacing_mm: Spacing, protocol: Protocol
) -> dict[str, RegionScores]:
    """Scores of each region of two label maps (I, J, K); see `lesionwise_scores`.

    Raises:
        SchemeError: If a label map holds a label that the protocol does not know; the program
            scores no such case.
    """
    return _scored(reference, prediction, spacing_mm, protocol, of_matches)


def score_sizes(
    reference: LabelMap, prediction: LabelMap, spacing_mm: Spacing, protocol: Protocol
) -> dict[str, RegionScores]:
    """Like `score_matches`, with scores of large and of small lesions, as for metastases."""
    return _scored(reference, prediction, spacing_mm, protocol, of_sizes)


def _scored(
    reference: LabelMap,
    prediction: LabelMap,
    spacing_mm: Spacing,
    protocol: Protocol,
    lesionwise: Callable[[Sequence[Lesion], int], Values],
) -> dict[str, RegionScores]:
    box = bounding_box((reference != 0) | (prediction != 0))
    reference, prediction = reference[box], prediction[box]
    scheme = get_scheme(protocol.scheme)
    for side, name in ((reference, "reference"), (prediction, "prediction")):
        scheme.check(np.unique(side), name)
    scores = {}
    for region, rule in protocol.regions.items():
        expected, predicted = (np.isin(side, rule.labels) for side in (reference, prediction))
        pair = _Pair.of(expected, predicted, [side.start for side in box], spacing_mm)
        values = {**pair.of_region(), **lesionwise(pair.lesions, len(pair.false_positives))}
        scores[region] = RegionScores(
            {score.name: values[score.name] for score in protocol.scores},
            pair.lesions,
            pair.false_positives,
        )
    return scores


@dataclass(frozen=True, eq=False)
class _Pair:
    """Reference and prediction of a region in their box, with axes in the order K, J, I.

    Components have their numbers in this order, on which the choice between equal matches depends.
    """

    expected: Mask
    predicted: Mask
    corner: tuple[int, ...]
    spacing_mm: Spacing

    @classmethod
    def of(
        cls, expected: Mask, predicted: Mask, first: Sequence[int], spacing_mm: Spacing
    ) -> _Pair:
        """Pair of masks (I, J, K), whose first voxel has the indices `first` in the image."""
        box = bounding_box(expected | predicted)
        corner = tuple(at + side.start for at, side in zip(first, box, strict=True))[::-1]
        expected, predicted = (np.ascontiguousarray(m[box].T) for m in (expected, predicted))
        return cls(expected, predicted, corner, spacing_mm)

    @cached_property
    def _parts(self) -> tuple[Parts, Parts]:
        return Parts.of(self.expected, 0, self.corner), Parts.of(self.predicted, 0, self.corner)

    @cached_property
    def _matches(self) -> dict[int, Match]:
        return best_matches(*self._parts, _LEAST_DICE)

    @cached_property
    def lesions(self) -> tuple[Lesion, ...]:
        """Lesions of the reference."""
        return tuple(self._lesion(number) for number in range(1, self._parts[0].n + 1))

    @cached_property
    def false_positives(self) -> tuple[FalsePositive, ...]:
        """Predicted components without a match."""
        found = self._parts[1]
        matched = {match.component for match in self._matches.values()}
        return tuple(
            FalsePositive(*self._size_and_centre(found, number))
            for number in range(1, found.n + 1)
            if number not in matched
        )

    def of_region(self) -> Values:
        """Scores of the whole region."""
        overlap = Overlap.of(self.predicted, self.expected)
        n_expected, n_predicted = overlap.reference_voxels, overlap.prediction_voxels
        # Without a match the program gives the worst values, whether masks are empty or not.
        dice: float | None = 0.0
        nsd: float | None = 0.0
        hd95: float | None = PENALTY
        if self._matches:
            dice = overlap.dice
            distances = BorderDistances.of(self.expected, self.predicted, (1, 1, 1))
            nsd, hd95 = distances.share_within(_TOLERANCE_VOXELS), distances.percentile(95)
        elif not (n_expected or n_predicted):
            dice = nsd = hd95 = None
        return {
            "global_dice": dice,
            "global_nsd": nsd,
            "global_hd95_voxels": hd95,
            "volume_ml": volume_mm3(n_predicted, self.spacing_mm) / 1000,
            "reference_volume_ml": volume_mm3(n_expected, self.spacing_mm) / 1000,
        }

    def _lesion(self, number: int) -> Lesion:
        lesions, found = self._parts
        size_mm3, centre = self._size_and_centre(lesions, number)
        match = self._matches.get(number)
        if match is None:
            return Lesion(size_mm3, 0, 0.0, None, {}, True, centre)
        box = union((lesions.boxes[number - 1], found.boxes[match.component - 1]))
        distances = BorderDistances.of(
            lesions.numbers[box] == number,
            found.numbers[box] == match.component,
            self.spacing_mm,
        )
        tolerance_mm = min(self.spacing_mm)
        nsd = {tolerance_mm: distances.share_within(tolerance_mm)}
        return Lesion(size_mm3, 1, match.dice, distances.percentile(95), nsd, True, centre)

    def _size_and_centre(self, parts: Parts, number: int) -> tuple[float, tuple[int, ...]]:
        size_mm3 = volume_mm3(int(parts.sizes[number]), self.spacing_mm)
        return size_mm3, parts.centre(number)[::-1]
