"""Scores of slices, and the two means over slices that papers report.

Three different numbers are called Dice where slices are segmented: the score of the patient volume,
see `ScoreTable`; the mean over the slices with tumour in the reference; and the mean over all
slices, where each slice that is empty in prediction and reference counts as 1. Most slices of a
head hold no tumour, so the third number depends more on the empty slices than on the tumour.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from volseg.files.writing import atomic_write
from volseg.labels import Masks
from volseg.metrics.overlap import Mask, Overlap, check_masks, check_regions
from volseg.metrics.scores import COUNTED_SCORES, RegionPair

#: Definitions of the numbers of a summary of slices, and of the score of a case for comparison.
SLICE_DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "summary": "not of slices: score of the patient volume from the voxels of all slices of a "
        "case together, as Buda et al. 2019 report it; if each image is a case, score of the image",
        "tumour_slices": "mean over the slices of all cases with a voxel of the region in the "
        "reference; if the prediction is empty, every score is 0",
        "all_slices": "mean over all slices of all cases, also the empty slices: if reference and "
        "prediction are both empty, every score is 1; if only one of them is empty, 0",
        "n": "number of slices in the mean; slices of missing or failed cases are not included",
        "slice": "counted from 1 along the third axis",
    }
)

_COUNTS = ("tp", "fp", "fn")


@dataclass(frozen=True)
class SliceRow:
    """Voxel counts of one region in one slice.

    Attributes:
        case_id: Id of the case.
        region: Name of the region.
        slice: Number of the slice, from 1.
        overlap: Counts of voxels.
    """

    case_id: str
    region: str
    slice: int
    overlap: Overlap


def slice_rows(case_id: str, prediction: Masks, reference: Masks) -> list[SliceRow]:
    """Rows of one case, one for each region and slice.

    Args:
        case_id: Id of the case.
        prediction: Predicted mask (I, J, K) of each region, by name.
        reference: Reference masks of the same regions.

    Returns:
        Rows by region, then by slice along K.

    Raises:
        ValueError: If a mask is not boolean or has not three axes, or regions or shapes differ.
    """
    check_regions(prediction, reference)
    return [
        SliceRow(case_id, region, number, overlap)
        for region, mask in prediction.items()
        for number, overlap in enumerate(_slice_overlaps(mask, reference[region]), start=1)
    ]


def _slice_overlaps(prediction: Mask, reference: Mask) -> list[Overlap]:
    check_masks(prediction, reference)
    if prediction.ndim != 3:
        raise ValueError(f"masks must have shape (I, J, K), got {prediction.shape}")
    shared, predicted, expected = (
        np.count_nonzero(mask, axis=(0, 1))
        for mask in (prediction & reference, prediction, reference)
    )
    counts = np.stack([shared, predicted - shared, expected - shared], axis=-1).tolist()
    return [Overlap(*of_slice) for of_slice in counts]


@dataclass(frozen=True)
class SliceTable:
    """Rows of slices, in the order of case ids; built by `of`."""

    rows: tuple[SliceRow, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[SliceRow]) -> SliceTable:
        """Table of rows in any order; the first row of each slice and region counts."""
        first: dict[tuple[str, str, int], SliceRow] = {}
        for row in rows:
            first.setdefault((row.case_id, row.region, row.slice), row)
        return cls(tuple(sorted(first.values(), key=lambda row: row.case_id)))

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of the regions, in the order of the rows."""
        return tuple(dict.fromkeys(row.region for row in self.rows))

    def summary(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Both means over the slices of all cases, by region; see `SLICE_DEFINITIONS`.

        Returns:
            `{region: {"tumour_slices": {"n", "dice", ...}, "all_slices": {...}}}`, with each of
            the `COUNTED_SCORES`; a mean over no slice is None.
        """
        summary = {}
        for region in self.regions:
            overlaps = [row.overlap for row in self.rows if row.region == region]
            with_tumour = [overlap for overlap in overlaps if overlap.reference_voxels]
            summary[region] = {
                "tumour_slices": _means(with_tumour),
                "all_slices": _means(overlaps),
            }
        return summary

    def to_dict(self) -> dict[str, Any]:
        """Entries of `scores.json` on slices: both means and their definitions."""
        return {"slices": self.summary(), "slice_definitions": dict(SLICE_DEFINITIONS)}

    def to_csv(self, path: Path) -> None:
        """Write a line for each case, region and slice; OutputError if writing fails."""
        with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            names = [score.name for score in COUNTED_SCORES]
            writer.writerow(["case_id", "region", "slice", *names, *_COUNTS])
            for row in self.rows:
                pair = RegionPair(row.overlap)
                scores = [score.rounded(score.compute(pair)) for score in COUNTED_SCORES]
                counts = [getattr(row.overlap, name) for name in _COUNTS]
                writer.writerow([row.case_id, row.region, row.slice, *scores, *counts])


def _means(overlaps: Sequence[Overlap]) -> dict[str, Any]:
    pairs = [RegionPair(overlap) for overlap in overlaps]
    means = {
        score.name: float(np.mean([score.compute(pair) for pair in pairs])) if pairs else None
        for score in COUNTED_SCORES
    }
    return {"n": len(overlaps), **means}
