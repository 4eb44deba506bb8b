"""Rows of scores for tests, from counts of voxels."""

from dataclasses import replace

from volseg.metrics import Overlap, RegionPair, ScoreRow


def scored_row(
    case_id: str,
    region: str,
    overlap: Overlap,
    voxel_ml: float | None = None,
    hd95_mm: float | None = None,
) -> ScoreRow:
    """Row of a scored region, with a distance that needs no masks."""
    row = ScoreRow.of(case_id, region, RegionPair(overlap, voxel_ml))
    return replace(row, scores={**row.scores, "hd95_mm": hd95_mm})
