"""Table of the scores of many cases: a row per case and region, their summary, CSV and JSON.

A case without scores, because its prediction is missing or could not be scored, keeps its rows:
each summary counts it and each file names it.
"""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import scipy

from volseg import __version__
from volseg.files.writing import atomic_write
from volseg.metrics.scores import EMPTY_MASK_POLICY, SCORES, RegionPair, Score, get_score
from volseg.metrics.statistics import INTERVAL, mean_intervals

Status = Literal["scored", "missing", "failed"]

# Definitions of the numbers of a summary.
_STATISTICS: Mapping[str, str] = MappingProxyType(
    {
        "mean, median": "over the scored cases that have a value of the score",
        "n": "scored cases that have a value of the score, where others have none",
        "interval": f"{INTERVAL}; a patient with several cases is drawn with all of them",
        "std": "sample standard deviation (n - 1) over the scored cases",
        "mean_missing_as_worst": "mean over all cases, with the worst value of the score for each "
        "missing or failed case; none where the worst value depends on the case",
        "n_cases": "scored cases",
        "n_empty_reference, n_empty_prediction": "scored cases without a voxel of the region",
        "n_missing": "cases of the reference without a prediction",
        "n_failed": "cases that could not be scored, such as a prediction on another grid",
    }
)

# Scores that are 0 where a side is empty.
_SIZES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "reference": ("reference_voxels", "reference_volume_ml"),
        "prediction": ("prediction_voxels", "volume_ml"),
    }
)


@dataclass(frozen=True)
class ScoreRow:
    """Scores of one region of one case.

    Attributes:
        case_id: Id of the case.
        region: Name of the region.
        scores: Values by name of the score; an absent score or None was not computed.
        status: `scored`, `missing` or `failed`.
    """

    case_id: str
    region: str
    scores: Mapping[str, float | None] = field(default_factory=dict, hash=False)
    status: Status = "scored"

    def __getitem__(self, score: str) -> float | None:
        return self.scores.get(score if score in self.scores else get_score(score).name)

    def value(self, score: Score) -> float | None:
        """Value of a score of any protocol; None if it was not computed."""
        return self.scores.get(score.name)

    def is_empty(self, side: Literal["reference", "prediction"]) -> bool:
        """Whether a side has no voxel of the region, by its voxels or volume."""
        return any(self.scores.get(size) == 0 for size in _SIZES[side])

    @classmethod
    def of(cls, case_id: str, region: str, pair: RegionPair) -> ScoreRow:
        """Row of a scored region: all scores that the pair has data for."""
        return cls(case_id, region, {score.name: score.compute(pair) for score in SCORES})


@dataclass(frozen=True)
class ScoreTable:
    """Rows of scores, in the order of case ids; built by `of`.

    Attributes:
        rows: A row for each case and region.
        scores: Definitions of the scores, in the order of columns.
        patients: Patient by case id; each other case is a patient.
    """

    rows: tuple[ScoreRow, ...] = ()
    scores: tuple[Score, ...] = SCORES
    patients: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def of(
        cls,
        rows: Iterable[ScoreRow],
        scores: tuple[Score, ...] = SCORES,
        patients: Mapping[str, str] = MappingProxyType({}),
    ) -> ScoreTable:
        """Table of rows in any order, with the first row of each case and region.

        Processes that share a validation set may score a case twice, to have equal shares.
        """
        first: dict[tuple[str, str], ScoreRow] = {}
        for row in rows:
            first.setdefault((row.case_id, row.region), row)
        ordered = tuple(sorted(first.values(), key=lambda row: row.case_id))
        return cls(ordered, scores, dict(patients))

    @property
    def definitions(self) -> dict[str, str]:
        """Definitions of the scores and of the numbers of a summary."""
        return {score.name: score.definition for score in self.scores} | dict(_STATISTICS)

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of the regions, in the order of the rows."""
        return tuple(dict.fromkeys(row.region for row in self.rows))

    def cases(self, status: Status) -> tuple[str, ...]:
        """Ids of the cases with a status."""
        return tuple(dict.fromkeys(row.case_id for row in self.rows if row.status == status))

    def means(self, score: str) -> dict[str, float]:
        """Mean of one score (`dice`, `iou`, ...) over the scored cases, by region."""
        definition = get_score(score)
        return {
            region: _statistics(definition, self._scored(region), 0)["mean"]
            for region in self.regions
        }

    def summary(self) -> dict[str, dict[str, Any]]:
        """Counts of cases and statistics of each score, by region; see `definitions`.

        Returns:
            `{region: {"n_cases": ..., "dice": {"mean", "median", "std", "interval",
            "mean_missing_as_worst"}, ...}}`; None without values, for the standard deviation of a
            single case, and for the interval of fewer than three patients; `n` only where some
            scored cases have no value.
        """
        return {region: self._summary_of(region) for region in self.regions}

    def intervals(
        self, rows: Sequence[ScoreRow], scores: Sequence[Score]
    ) -> dict[str, list[float] | None]:
        """95 % interval of the mean of each score over some rows of one region, by name."""
        patients = [self.patients.get(row.case_id, row.case_id) for row in rows]
        found = mean_intervals([[row.value(score) for row in rows] for score in scores], patients)
        return {
            score.name: list(interval) if interval else None
            for score, interval in zip(scores, found, strict=True)
        }

    def _scored(self, region: str) -> list[ScoreRow]:
        return [row for row in self.rows if row.region == region and row.status == "scored"]

    def _summary_of(self, region: str) -> dict[str, Any]:
        rows, scored = [r for r in self.rows if r.region == region], self._scored(region)
        unscored = len(rows) - len(scored)
        intervals = self.intervals(scored, self.scores)
        return _counts(rows, scored) | {
            score.name: _statistics(score, scored, unscored) | {"interval": intervals[score.name]}
            for score in self.scores
        }

    def to_dict(self) -> dict[str, Any]:
        """The table as plain values, with definitions of the scores."""
        cases: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            case = cases.setdefault(row.case_id, {"status": row.status, "regions": {}})
            case["regions"][row.region] = {score.name: row.value(score) for score in self.scores}
        return {
            "summary": self.summary(),
            "empty_mask_policy": EMPTY_MASK_POLICY,
            "definitions": self.definitions,
            "missing": list(self.cases("missing")),
            "failed": list(self.cases("failed")),
            "patients": {case: self.patients.get(case, case) for case in cases},
            "cases": cases,
            "versions": {
                "volseg": __version__,
                "python": platform.python_version(),
                "numpy": np.__version__,
                "scipy": scipy.__version__,
            },
        }

    def to_csv(self, path: Path) -> None:
        """Write a line for each case and region, rounded; OutputError if writing fails."""
        with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["case_id", "region", *(score.name for score in self.scores), "status"])
            for row in self.rows:
                scores = (score.rounded(row.value(score)) for score in self.scores)
                writer.writerow([row.case_id, row.region, *scores, row.status])

    def to_json(self, path: Path, about: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Write the entries of `about`, then `to_dict`; OutputError if writing fails."""
        document = {**about, **self.to_dict()}
        with atomic_write(path) as part:
            part.write_text(
                json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8"
            )


def _counts(rows: Sequence[ScoreRow], scored: Sequence[ScoreRow]) -> dict[str, int]:
    return {
        "n_cases": len(scored),
        "n_empty_reference": sum(row.is_empty("reference") for row in scored),
        "n_empty_prediction": sum(row.is_empty("prediction") for row in scored),
        "n_missing": sum(row.status == "missing" for row in rows),
        "n_failed": sum(row.status == "failed" for row in rows),
    }


def known_values(score: Score, rows: Iterable[ScoreRow]) -> list[float]:
    """Values of a score, without rows that lack it."""
    return [value for row in rows if (value := row.value(score)) is not None]


def _statistics(score: Score, scored: Sequence[ScoreRow], unscored: int) -> dict[str, Any]:
    values = known_values(score, scored)
    statistics: dict[str, Any] = {
        "mean": float(np.mean(values)) if values else None,
        "median": float(np.median(values)) if values else None,
        "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
    }
    if 0 < len(values) < len(scored):
        statistics["n"] = len(values)
    if score.worst is not None:
        # If no scored case has this score, as voxel sizes are unknown, missing cases have none too.
        filled = values + [score.worst] * (unscored if values or not scored else 0)
        statistics["mean_missing_as_worst"] = float(np.mean(filled)) if filled else None
    return statistics
