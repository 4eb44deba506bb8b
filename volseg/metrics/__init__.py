"""Scores of a segmentation, without torch: overlap, surface distance, tables of many cases."""

from volseg.metrics.groups import GroupTable
from volseg.metrics.overlap import Overlap, region_overlaps
from volseg.metrics.record import ScoreRecord
from volseg.metrics.slices import SliceRow, SliceTable, slice_rows
from volseg.metrics.surface import HD95_PENALTY_MM, hausdorff_95
from volseg.metrics.table import EMPTY_MASK_POLICY, ScoreRow, ScoreTable

__all__ = [
    "EMPTY_MASK_POLICY",
    "HD95_PENALTY_MM",
    "GroupTable",
    "Overlap",
    "ScoreRecord",
    "ScoreRow",
    "ScoreTable",
    "SliceRow",
    "SliceTable",
    "hausdorff_95",
    "region_overlaps",
    "slice_rows",
]
