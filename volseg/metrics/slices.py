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
import numpy.typing as npt

from volseg.files.writing import atomic_write
from volseg.labels import Masks
from volseg.metrics.overlap import Mask, Overlap, check_masks, check_regions
from volseg.metrics.scores import COUNTED_SCORES, RegionPair, Score
from volseg.metrics.statistics import INTERVAL, mean_intervals

#: Definitions of the numbers of a summary of slices, and of the score of a case for comparison.
SLICE_DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "summary": "not of slices: score of the patient volume from the voxels of all slices of a "
        "case together, as Buda et al. 2019 report it; if each image is a case, score of the image",
        "tumour_slices": "mean over the slices of all cases with a voxel of the region in the "
        "reference; if the prediction is empty, every score is 0",
        "all_slices": "mean over all slices of all cases, also the empty slices: if reference and "
        "prediction are both empty, every score is 1; if only one of them is empty, 0",
        "interval": f"{INTERVAL}; a patient is drawn with all slices",
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
        return {
            region: {kind: _means(rows) for kind, rows in self._kinds(region).items()}
            for region in self.regions
        }

    def intervals(
        self, patients: Mapping[str, str]
    ) -> dict[str, dict[str, dict[str, list[float] | None]]]:
        """95 % interval of each mean of `summary`, by region, kind and score.

        Args:
            patients: Patient by case id; each other case is a patient.

        Returns:
            `{region: {"tumour_slices": {"dice": [low, high], ...}, "all_slices": {...}}}`; None for
            fewer than three patients.
        """
        return {
            region: {kind: _intervals(rows, patients) for kind, rows in self._kinds(region).items()}
            for region in self.regions
        }

    def _kinds(self, region: str) -> dict[str, list[SliceRow]]:
        """Rows of a region that each mean is over."""
        rows = [row for row in self.rows if row.region == region]
        some = [row for row in rows if row.overlap.reference_voxels]
        return {"tumour_slices": some, "all_slices": rows}

    def to_dict(self, patients: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
        """Entries of `scores.json` on slices: both means, their intervals, and definitions."""
        return {
            "slices": self.summary(),
            "slice_intervals": self.intervals(patients),
            "slice_definitions": dict(SLICE_DEFINITIONS),
        }

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


def _values(rows: Sequence[SliceRow], score: Score) -> npt.NDArray[np.float64]:
    return np.array([score.compute(RegionPair(row.overlap)) for row in rows], np.float64)


def _means(rows: Sequence[SliceRow]) -> dict[str, Any]:
    means = {
        score.name: float(np.mean(_values(rows, score))) if rows else None
        for score in COUNTED_SCORES
    }
    return {"n": len(rows), **means}


def _intervals(
    rows: Sequence[SliceRow], patients: Mapping[str, str]
) -> dict[str, list[float] | None]:
    of_slices = [patients.get(row.case_id, row.case_id) for row in rows]
    found = mean_intervals([_values(rows, score).tolist() for score in COUNTED_SCORES], of_slices)
    return {
        score.name: list(interval) if interval else None
        for score, interval in zip(COUNTED_SCORES, found, strict=True)
    }
