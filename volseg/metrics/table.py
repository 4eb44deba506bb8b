"""Table of the scores of many cases: a row per case and region, their summary, CSV and JSON.

A case without scores, because its prediction is missing or could not be scored, keeps its rows:
each summary counts it and each file names it.
"""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import scipy

from volseg import __version__
from volseg.files.writing import atomic_write
from volseg.metrics.scores import EMPTY_MASK_POLICY, SCORES, RegionPair, Score, get_score

Status = Literal["scored", "missing", "failed"]

#: Definitions of the numbers of a table and of its summary.
DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {score.name: score.definition for score in SCORES}
    | {
        "mean, median": "over the scored cases",
        "std": "sample standard deviation (n - 1) over the scored cases",
        "mean_missing_as_worst": "mean over all cases, with the worst value of the score for each "
        "missing or failed case",
        "n_cases": "scored cases",
        "n_empty_reference, n_empty_prediction": "scored cases without a voxel of the region",
        "n_missing": "cases of the reference without a prediction",
        "n_failed": "cases that could not be scored, such as a prediction on another grid",
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
        return self.scores.get(get_score(score).name)

    @classmethod
    def of(cls, case_id: str, region: str, pair: RegionPair) -> ScoreRow:
        """Row of a scored region: all scores that the pair has data for."""
        return cls(case_id, region, {score.name: score.compute(pair) for score in SCORES})


@dataclass(frozen=True)
class ScoreTable:
    """Rows of scores, in the order of case ids; built by `of`."""

    rows: tuple[ScoreRow, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[ScoreRow]) -> ScoreTable:
        """Table of rows in any order, with the first row of each case and region.

        Processes that share a validation set may score a case twice, to have equal shares.
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
        """Ids of the cases with a status."""
        return tuple(dict.fromkeys(row.case_id for row in self.rows if row.status == status))

    def means(self, score: str) -> dict[str, float]:
        """Mean of one score (`dice`, `iou`, ...) over the scored cases, by region."""
        summary = self.summary()
        return {region: summary[region][score]["mean"] for region in self.regions}

    def summary(self) -> dict[str, dict[str, Any]]:
        """Counts of cases and statistics of each score, by region; see `DEFINITIONS`.

        Returns:
            `{region: {"n_cases": ..., "dice": {"mean", "median", "std", "mean_missing_as_worst"},
            ...}}`; None without values, and for the standard deviation of a single case.
        """
        return {
            region: _summary_of([r for r in self.rows if r.region == region])
            for region in self.regions
        }

    def to_dict(self) -> dict[str, Any]:
        """The table as plain values, with definitions of the scores."""
        cases: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            case = cases.setdefault(row.case_id, {"status": row.status, "regions": {}})
            case["regions"][row.region] = {score.name: row[score.name] for score in SCORES}
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
        """Write a line for each case and region, rounded; OutputError if writing fails."""
        with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["case_id", "region", *(score.name for score in SCORES), "status"])
            for row in self.rows:
                scores = (score.rounded(row[score.name]) for score in SCORES)
                writer.writerow([row.case_id, row.region, *scores, row.status])

    def to_json(self, path: Path, about: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Write the entries of `about`, then `to_dict`; OutputError if writing fails."""
        document = {**about, **self.to_dict()}
        with atomic_write(path) as part:
            part.write_text(
                json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8"
            )


def _summary_of(rows: list[ScoreRow]) -> dict[str, Any]:
    scored = [row for row in rows if row.status == "scored"]
    counts = {
        "n_cases": len(scored),
        "n_empty_reference": sum(row["reference_voxels"] == 0 for row in scored),
        "n_empty_prediction": sum(row["prediction_voxels"] == 0 for row in scored),
        "n_missing": sum(row.status == "missing" for row in rows),
        "n_failed": sum(row.status == "failed" for row in rows),
    }
    unscored = len(rows) - len(scored)
    return counts | {score.name: _statistics(score, scored, unscored) for score in SCORES}


def known_values(score: Score, rows: Iterable[ScoreRow]) -> list[float]:
    """Values of a score, without rows that lack it."""
    return [value for row in rows if (value := row[score.name]) is not None]


def _statistics(score: Score, scored: list[ScoreRow], unscored: int) -> dict[str, float | None]:
    values = known_values(score, scored)
    statistics = {
        "mean": float(np.mean(values)) if values else None,
        "median": float(np.median(values)) if values else None,
        "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
    }
    if score.worst is not None:
        # If no scored case has this score, as voxel sizes are unknown, missing cases have none too.
        filled = values + [score.worst] * (unscored if values or not scored else 0)
        statistics["mean_missing_as_worst"] = float(np.mean(filled)) if filled else None
    return statistics
