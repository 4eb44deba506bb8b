"""Scores of whole regions, as BraTS 2017 to 2022 and, beside those of lesions, later programs."""

from __future__ import annotations

import numpy as np

from volseg.images.boxes import bounding_box
from volseg.metrics.official.protocol import Protocol
from volseg.metrics.official.region_scores import RegionScores
from volseg.metrics.official.voxels import LabelMap, Spacing, volume_mm3
from volseg.metrics.overlap import Overlap
from volseg.metrics.surface import hausdorff_95


def score_whole_regions(
    reference: LabelMap,
    prediction: LabelMap,
    spacing_mm: Spacing,
    protocol: Protocol,
) -> dict[str, RegionScores]:
    """Scores of each region of two label maps (I, J, K) without lesions; HD95 is MONAI's."""
    box = bounding_box((reference != 0) | (prediction != 0))
    scores = {}
    for region, rule in protocol.regions.items():
        expected, predicted = (
            np.isin(label_map[box], rule.labels) for label_map in (reference, prediction)
        )
        overlap = Overlap.of(predicted, expected)
        values = {
            **counted_scores(overlap, reference.size),
            "legacy_hd95_mm": hausdorff_95(
                expected, predicted, spacing_mm, protocol.penalty_mm or 0.0
            ),
            "volume_ml": volume_mm3(overlap.prediction_voxels, spacing_mm) / 1000,
            "reference_volume_ml": volume_mm3(overlap.reference_voxels, spacing_mm) / 1000,
        }
        scores[region] = RegionScores({score.name: values[score.name] for score in protocol.scores})
    return scores


def counted_scores(overlap: Overlap, voxels: int) -> dict[str, float]:
    """Scores from counts of voxels of a region, in an image of `voxels` voxels."""
    negative = voxels - overlap.reference_voxels
    return {
        "legacy_dice": overlap.dice,
        "sensitivity": overlap.recall,
        "specificity": (negative - overlap.fp) / negative if negative else 1.0,
    }
