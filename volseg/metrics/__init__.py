"""Scores of a segmentation, without torch: overlap, surfaces, lesions, tables of many cases.

The functions of two masks or label maps (`dice`, `iou`, `hausdorff_95`, `surface_dice` and
`lesionwise_scores`) take the reference first.
"""

from volseg.metrics.groups import GroupTable
from volseg.metrics.nsd import surface_dice
from volseg.metrics.official.lesionwise import lesionwise_scores
from volseg.metrics.official.protocol import Protocol, RegionRule
from volseg.metrics.official.protocols import OWN_SCORES, PROTOCOLS, get_protocol
from volseg.metrics.official.region_scores import FalsePositive, Lesion, RegionScores
from volseg.metrics.overlap import Overlap, dice, iou, region_overlaps
from volseg.metrics.record import ScoreRecord
from volseg.metrics.scores import (
    COUNTED_SCORES,
    EMPTY_MASK_POLICY,
    RATED_SCORES,
    SCORES,
    RegionPair,
    Score,
    get_score,
)
from volseg.metrics.slices import SliceRow, SliceTable, slice_rows
from volseg.metrics.surface import HD95_PENALTY_MM, hausdorff_95
from volseg.metrics.table import ScoreRow, ScoreTable

__all__ = [
    "COUNTED_SCORES",
    "EMPTY_MASK_POLICY",
    "HD95_PENALTY_MM",
    "OWN_SCORES",
    "PROTOCOLS",
    "RATED_SCORES",
    "SCORES",
    "FalsePositive",
    "GroupTable",
    "Lesion",
    "Overlap",
    "Protocol",
    "RegionPair",
    "RegionRule",
    "RegionScores",
    "Score",
    "ScoreRecord",
    "ScoreRow",
    "ScoreTable",
    "SliceRow",
    "SliceTable",
    "dice",
    "get_protocol",
    "get_score",
    "hausdorff_95",
    "iou",
    "lesionwise_scores",
    "region_overlaps",
    "slice_rows",
    "surface_dice",
]
