"""Scores of a segmentation, without torch: overlap, surface distance, table of many cases."""

from volseg.metrics.overlap import Overlap, region_overlaps
from volseg.metrics.surface import HD95_PENALTY_MM, hausdorff_95
from volseg.metrics.table import EMPTY_MASK_POLICY, ScoreRow, ScoreTable

__all__ = [
    "EMPTY_MASK_POLICY",
    "HD95_PENALTY_MM",
    "Overlap",
    "ScoreRow",
    "ScoreTable",
    "hausdorff_95",
    "region_overlaps",
]
