"""Lesion-wise scores as the BraTS programs of 2023 to 2025 count them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from volseg.images.boxes import bounding_box
from volseg.metrics.nsd import nsd
from volseg.metrics.official.area_hd95 import area_hd95_mm
from volseg.metrics.official.matching_by_touch import Matching
from volseg.metrics.official.program_2017 import counted_scores
from volseg.metrics.official.protocol import Protocol
from volseg.metrics.official.region_scores import Lesion, RegionScores
from volseg.metrics.official.side import Side
from volseg.metrics.official.voxels import LabelMap, Spacing, volume_mm3
from volseg.metrics.overlap import Overlap


def score_lesions(
    reference: LabelMap,
    prediction: LabelMap,
    spacing_mm: Spacing,
    protocol: Protocol,
) -> dict[str, RegionScores]:
    """Scores of each region of two label maps (I, J, K); see `lesionwise_scores`."""
    # Outside the box nothing is within reach of a lesion; the box is fast, as tumours are small.
    margin = max(rule.dilation for rule in protocol.tissues.values())
    box = bounding_box((reference != 0) | (prediction != 0), margin)
    corner = tuple(side.start for side in box)
    expected, predicted = (
        Side(np.ascontiguousarray(label_map[box]), corner, spacing_mm, protocol, is_prediction)
        for label_map, is_prediction in ((reference, False), (prediction, True))
    )
    penalty_mm = protocol.penalty_mm or math.hypot(*reference.shape)
    return {
        region: _scored(region, expected, predicted, reference.size, penalty_mm)
        for region in protocol.regions
    }


def _scored(
    region: str, expected: Side, predicted: Side, voxels: int, penalty_mm: float
) -> RegionScores:
    protocol, spacing_mm = expected.protocol, expected.spacing_mm
    tolerances_mm = protocol.tolerances_mm
    pair = Matching(expected.parts(region), predicted.parts(region), spacing_mm, tolerances_mm)
    lesions = pair.lesion_list(protocol.regions[region].threshold_mm3)
    false_positives = pair.false_positives()
    counted = [lesion for lesion in lesions if lesion.counts]
    n_costly = len(false_positives) if protocol.false_positives_cost else 0
    whole, plain = (
        (pair.lesions.mask, pair.components.mask),
        (expected.mask(region), predicted.mask(region)),
    )
    values = {
        **_lesionwise(counted, n_costly, penalty_mm, tolerances_mm),
        **_counts(counted, len(false_positives)),
        **counted_scores(Overlap.of(*reversed(whole)), voxels),
        "legacy_hd95_mm": _legacy_hd95_mm(pair, protocol, penalty_mm),
        **_by_tolerance("legacy", nsd(*whole, spacing_mm, tolerances_mm)),
        "volume_ml": volume_mm3(int(plain[1].sum()), spacing_mm) / 1000,
        "reference_volume_ml": volume_mm3(int(plain[0].sum()), spacing_mm) / 1000,
    }
    if protocol.filter_unit:
        values["plain_dice"] = Overlap.of(*reversed(plain)).dice
        values["plain_hd95_mm"] = area_hd95_mm(*plain, spacing_mm, penalty_mm)
    scores = {score.name: values[score.name] for score in protocol.scores}
    return RegionScores(scores, lesions, false_positives)


def _lesionwise(
    counted: Sequence[Lesion], n_false: int, penalty_mm: float, tolerances_mm: Sequence[float]
) -> dict[str, float]:
    """Means over the lesions that count and false positives; perfect without either."""
    n = len(counted) + n_false
    if not n:
        perfect = _by_tolerance("lesion", dict.fromkeys(tolerances_mm, 1.0))
        return {"lesion_dice": 1.0, "lesion_hd95_mm": 0.0, **perfect}
    distances = [penalty_mm if each.hd95_mm is None else each.hd95_mm for each in counted]
    shares = {each: sum(lesion.nsd[each] for lesion in counted) / n for each in tolerances_mm}
    return {
        "lesion_dice": sum(lesion.dice for lesion in counted) / n,
        "lesion_hd95_mm": (sum(distances) + n_false * penalty_mm) / n,
        **_by_tolerance("lesion", shares),
    }


def _counts(counted: Sequence[Lesion], n_false: int) -> dict[str, float]:
    found = sum(lesion.n_predicted > 0 for lesion in counted)
    n = found + len(counted) + n_false
    return {
        "lesion_f1": 2 * found / n if n else 1.0,
        "true_positives": found,
        "false_positives": n_false,
        "missed_lesions": len(counted) - found,
    }


def _by_tolerance(kind: str, shares: Mapping[float, float]) -> dict[str, float]:
    return {f"{kind}_nsd_{tolerance}mm": share for tolerance, share in shares.items()}


def _legacy_hd95_mm(pair: Matching, protocol: Protocol, penalty_mm: float) -> float:
    parts = (pair.lesions, pair.components)
    # The programs that filter take the numbers of parts, in a byte that overflows, for masks.
    expected, predicted = (
        side.numbers.astype(np.uint8) if protocol.filter_unit else side.mask for side in parts
    )
    return area_hd95_mm(expected, predicted, pair.spacing_mm, penalty_mm)
