"""Scores of many cases as one table: rows per case and region, their summary, CSV and JSON.

A case that has no score, because its prediction is missing or could not be scored, keeps its rows:
it is counted in every summary and named in every file.
"""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import scipy

from volseg import __version__
from volseg.files.writing import atomic_write
from volseg.metrics.overlap import Overlap
from volseg.metrics.surface import HD95_PENALTY_MM

Status = Literal["scored", "missing", "failed"]

EMPTY_MASK_POLICY = (
    "As BraTS 2017 to 2022: when reference and prediction are both empty, Dice, IoU, precision and "
    "recall are 1 and HD95 is 0 mm; when only one of them is empty, Dice, IoU, precision and "
    f"recall are 0 and HD95 is {HD95_PENALTY_MM} mm, the diagonal of 240 x 240 x 155 mm. "
    "Every scored case is in every mean; in those of HD95 and volumes, every one with a known size "
    "of a voxel."
)

#: What each score is, by the name of its column.
DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "dice": "2 |P and R| / (|P| + |R|), P the voxels of the prediction, R of the reference",
        "iou": "|P and R| / |P or R|",
        "precision": "|P and R| / |P|",
        "recall": "|P and R| / |R|, also called sensitivity",
        "hd95_mm": "the larger of the two directed 95th percentiles of the distances between "
        "surface voxels, in mm; none where the size of a voxel is not known",
        "volume_ml": "volume of the prediction in ml; none where the size of a voxel is not known",
        "reference_volume_ml": "volume of the reference in ml, likewise",
        "prediction_voxels": "voxels of the prediction",
        "reference_voxels": "voxels of the reference",
        "mean, median": "over the scored cases",
        "std": "sample standard deviation (n - 1) over the scored cases",
        "mean_missing_as_worst": "mean in which each missing or failed case counts with the worst "
        f"value: 0, or {HD95_PENALTY_MM} mm",
        "n_cases": "scored cases",
        "n_empty_reference, n_empty_prediction": "scored cases without a voxel of the region",
        "n_missing": "cases of the reference without a prediction",
        "n_failed": "cases that could not be scored, such as a prediction on another grid",
    }
)

_WORST = {"dice": 0.0, "iou": 0.0, "precision": 0.0, "recall": 0.0, "hd95_mm": HD95_PENALTY_MM}
_SIZES = ("volume_ml", "reference_volume_ml", "prediction_voxels", "reference_voxels")
_SCORES = (*_WORST, *_SIZES)


@dataclass(frozen=True)
class ScoreRow:
    """Scores of one region of one case; None where a score was not computed."""

    case_id: str
    region: str
    dice: float | None = None
    iou: float | None = None
    precision: float | None = None
    recall: float | None = None
    hd95_mm: float | None = None
    volume_ml: float | None = None
    reference_volume_ml: float | None = None
    prediction_voxels: int | None = None
    reference_voxels: int | None = None
    status: Status = "scored"

    @classmethod
    def of(
        cls,
        case_id: str,
        region: str,
        overlap: Overlap,
        voxel_ml: float | None,
        hd95_mm: float | None = None,
    ) -> ScoreRow:
        """Row of a scored region.

        Args:
            case_id: The case.
            region: The region.
            overlap: Its voxel counts.
            voxel_ml: Volume of a voxel; None: not known, and then there are no mm and no ml.
            hd95_mm: Surface distance, where it was computed.
        """
        return cls(
            case_id=case_id,
            region=region,
            dice=overlap.dice,
            iou=overlap.iou,
            precision=overlap.precision,
            recall=overlap.recall,
            hd95_mm=None if voxel_ml is None else hd95_mm,
            volume_ml=None if voxel_ml is None else overlap.prediction_voxels * voxel_ml,
            reference_volume_ml=None if voxel_ml is None else overlap.reference_voxels * voxel_ml,
            prediction_voxels=overlap.prediction_voxels,
            reference_voxels=overlap.reference_voxels,
        )


@dataclass(frozen=True)
class ScoreTable:
    """Rows of scores, in the order of case ids; make it with `of`."""

    rows: tuple[ScoreRow, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[ScoreRow]) -> ScoreTable:
        """Table of rows in any order, each case and region once.

        Processes that share a validation set may score a case twice to come out even; the first
        row counts.
        """
        first: dict[tuple[str, str], ScoreRow] = {}
        for row in rows:
            first.setdefault((row.case_id, row.region), row)
        return cls(tuple(sorted(first.values(), key=lambda row: row.case_id)))

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of the regions, in the order of the rows."""
        return tuple(dict.fromkeys(row.region for row in self.rows))

    def cases(self, status: Status) -> tuple[str, ...]:
        """Ids of the cases that are scored, missing or failed."""
        return tuple(dict.fromkeys(row.case_id for row in self.rows if row.status == status))

    def means(self, score: str) -> dict[str, float]:
        """Mean of one score (`dice`, `iou`, ...) over the scored cases, by region."""
        summary = self.summary()
        return {region: summary[region][score]["mean"] for region in self.regions}

    def summary(self) -> dict[str, dict[str, Any]]:
        """Counts of cases and statistics of each score, by region; see `DEFINITIONS`.

        Returns:
            `{region: {"n_cases": ..., "dice": {"mean", "median", "std", "mean_missing_as_worst"},
            ...}}`; None where there is no value, and for the deviation of a single case.
        """
        return {
            region: _summary_of([r for r in self.rows if r.region == region])
            for region in self.regions
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything of the table as plain values, with what they mean."""
        cases: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            case = cases.setdefault(row.case_id, {"status": row.status, "regions": {}})
            case["regions"][row.region] = {score: getattr(row, score) for score in _SCORES}
        return {
            "summary": self.summary(),
            "empty_mask_policy": EMPTY_MASK_POLICY,
            "definitions": dict(DEFINITIONS),
            "missing": list(self.cases("missing")),
            "failed": list(self.cases("failed")),
            "cases": cases,
            "versions": {
                "volseg": __version__,
                "python": platform.python_version(),
                "numpy": np.__version__,
                "scipy": scipy.__version__,
            },
        }

    def to_csv(self, path: Path) -> None:
        """Write one line per case and region; OutputError if it cannot be written."""
        with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(
                file, ["case_id", "region", *_SCORES, "status"], lineterminator="\n"
            )
            writer.writeheader()
            writer.writerows(asdict(row) for row in self.rows)

    def to_json(self, path: Path, about: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Write `to_dict`, after what `about` tells; OutputError if it cannot be written."""
        document = {**about, **self.to_dict()}
        with atomic_write(path) as part:
            part.write_text(
                json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8"
            )


def _summary_of(rows: list[ScoreRow]) -> dict[str, Any]:
    scored = [row for row in rows if row.status == "scored"]
    counts = {
        "n_cases": len(scored),
        "n_empty_reference": sum(row.reference_voxels == 0 for row in scored),
        "n_empty_prediction": sum(row.prediction_voxels == 0 for row in scored),
        "n_missing": sum(row.status == "missing" for row in rows),
        "n_failed": sum(row.status == "failed" for row in rows),
    }
    unscored = len(rows) - len(scored)
    return counts | {score: _statistics(score, scored, unscored) for score in _SCORES}


def _statistics(score: str, scored: list[ScoreRow], unscored: int) -> dict[str, float | None]:
    values = [value for row in scored if (value := getattr(row, score)) is not None]
    statistics = {
        "mean": float(np.mean(values)) if values else None,
        "median": float(np.median(values)) if values else None,
        "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
    }
    if score in _WORST:
        # Where no case has this score, for want of the size of a voxel, the missing have none too.
        filled = values + [_WORST[score]] * (unscored if values or not scored else 0)
        statistics["mean_missing_as_worst"] = float(np.mean(filled)) if filled else None
    return statistics
