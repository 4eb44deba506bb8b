"""Scores of whole regions, as BraTS 2017 to 2022 and, beside those of lesions, later programs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from volseg.images.boxes import bounding_box
from volseg.metrics.lesions import RegionScores
from volseg.metrics.overlap import Overlap
from volseg.metrics.protocols import Protocol
from volseg.metrics.surface import hausdorff_95

Spacing = tuple[float, float, float]


def score_whole_regions(
    reference: npt.NDArray[np.integer],
    prediction: npt.NDArray[np.integer],
    spacing_mm: Spacing,
    protocol: Protocol,
) -> dict[str, RegionScores]:
    """Scores of each region of two label maps (I, J, K) without lesions; HD95 is MONAI's."""
    box = bounding_box(reference | prediction)
    scores = {}
    for region, rule in protocol.regions.items():
        expected, predicted = (
            np.isin(label_map[box], rule.labels) for label_map in (reference, prediction)
        )
        hd95_mm = hausdorff_95(predicted, expected, spacing_mm, protocol.penalty_mm or 0.0)
        values = {"legacy_hd95_mm": hd95_mm} | counted_scores(
            Overlap.of(predicted, expected), reference.size, spacing_mm
        )
        scores[region] = RegionScores({score.name: values[score.name] for score in protocol.scores})
    return scores


def counted_scores(overlap: Overlap, voxels: int, spacing_mm: Spacing) -> dict[str, float]:
    """Scores from counts of voxels.

    Args:
        overlap: Counts of voxels of the region.
        voxels: Number of voxels of the image.
        spacing_mm: Voxel size along the three axes in mm.
    """
    negative = voxels - overlap.reference_voxels
    return {
        "legacy_dice": overlap.dice,
        "sensitivity": overlap.recall,
        "specificity": (negative - overlap.fp) / negative if negative else 1.0,
        "volume_ml": volume_mm3(overlap.prediction_voxels, spacing_mm) / 1000,
        "reference_volume_ml": volume_mm3(overlap.reference_voxels, spacing_mm) / 1000,
    }


def volume_mm3(voxels: int, spacing_mm: Spacing) -> float:
    """Volume of a number of voxels in mm3, multiplied in the order of the programs."""
    i, j, k = spacing_mm
    return voxels * i * j * k
