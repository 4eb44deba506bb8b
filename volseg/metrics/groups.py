"""Scores of groups of cases: by institution, scanner or missing channels."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from volseg.files.writing import atomic_write
from volseg.metrics.scores import COUNTED_SCORES
from volseg.metrics.table import ScoreRow, ScoreTable, known_values

#: Column of missing channels, and its value for a case with all channels.
MISSING_CHANNELS, COMPLETE = "missing channels", "none"
#: Value of a case without an entry in the column.
NOT_KNOWN = "not known"

Groups = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class GroupRow:
    """Scores of one region in the cases of one group.

    Attributes:
        column: Column that groups the cases, such as `institution`.
        value: Value of the column in this group.
        region: Name of the region.
        n: Number of scored cases.
        n_unscored: Number of missing or failed cases, which no mean includes.
        mean: Mean of each score over the scored cases, by name; None without scored cases.
        median: Median of each score, likewise.
        interval: 95 % interval of each mean over patients; None for fewer than three patients.
    """

    column: str
    value: str
    region: str
    n: int
    n_unscored: int
    mean: Mapping[str, float | None]
    median: Mapping[str, float | None]
    interval: Mapping[str, list[float] | None]


@dataclass(frozen=True)
class GroupTable:
    """Rows by column, value and region; built by `of`."""

    rows: tuple[GroupRow, ...] = ()

    @classmethod
    def of(
        cls,
        table: ScoreTable,
        groups: Groups,
        missing_channels: Mapping[str, Iterable[str]] | None = None,
    ) -> GroupTable:
        """Scores of each group of cases of a table.

        Args:
            table: Scores of the cases.
            groups: `{case_id: {column: value}}`; a case without a value belongs to the group
                `NOT_KNOWN` of the column.
            missing_channels: Missing channels of each case. If any case has some, the table gets
                a further column with values such as "t1n t1c" or "none"; cases without a
                prediction get `NOT_KNOWN`.

        Returns:
            Rows in the order of columns, then of values (numbers by size), then of regions.
        """
        columns = _columns(table, groups, missing_channels or {})
        return cls(
            tuple(
                _row(table, column, value, members)
                for column, value_of in columns.items()
                for value in sorted(set(value_of.values()), key=_by_size)
                for region in table.regions
                if (
                    members := [
                        row
                        for row in table.rows
                        if row.region == region and value_of[row.case_id] == value
                    ]
                )
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """`{column: {value: {region: {"n", "n_unscored", "dice": {"mean", "median",
        "interval"}, ...}}}}`."""
        document: dict[str, Any] = {}
        for row in self.rows:
            of_value = document.setdefault(row.column, {}).setdefault(row.value, {})
            scores = {
                score.name: {
                    "mean": row.mean[score.name],
                    "median": row.median[score.name],
                    "interval": row.interval[score.name],
                }
                for score in COUNTED_SCORES
            }
            of_value[row.region] = {"n": row.n, "n_unscored": row.n_unscored, **scores}
        return document

    def to_csv(self, path: Path) -> None:
        """Write a line for each column, value and region; OutputError if writing fails."""
        statistics = [f"{kind}_{s.name}" for s in COUNTED_SCORES for kind in ("mean", "median")]
        limits = [f"{kind}_{s.name}" for s in COUNTED_SCORES for kind in ("low", "high")]
        with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["column", "value", "region", "n", "n_unscored", *statistics, *limits])
            for row in self.rows:
                values = [
                    score.rounded(kind[score.name])
                    for score in COUNTED_SCORES
                    for kind in (row.mean, row.median)
                ]
                values += [
                    score.rounded(limit)
                    for score in COUNTED_SCORES
                    for limit in row.interval[score.name] or (None, None)
                ]
                writer.writerow([row.column, row.value, row.region, row.n, row.n_unscored, *values])


def _columns(
    table: ScoreTable, groups: Groups, missing_channels: Mapping[str, Iterable[str]]
) -> dict[str, dict[str, str]]:
    """`{column: {case_id: value}}`; only columns with a value for at least one case."""
    case_ids = list(dict.fromkeys(row.case_id for row in table.rows))
    names = dict.fromkeys(name for case_id in case_ids for name in groups.get(case_id, {}))
    columns = {
        name: {case_id: groups.get(case_id, {}).get(name, NOT_KNOWN) for case_id in case_ids}
        for name in names
    }
    lacking = {case_id: " ".join(missing_channels.get(case_id, ())) for case_id in case_ids}
    if any(lacking.values()):
        # No record holds the channels of a case without a prediction.
        complete = dict.fromkeys(case_ids, COMPLETE) | dict.fromkeys(
            table.cases("missing"), NOT_KNOWN
        )
        columns[MISSING_CHANNELS] = {case: lacking[case] or complete[case] for case in case_ids}
    return columns


def _row(table: ScoreTable, column: str, value: str, members: list[ScoreRow]) -> GroupRow:
    scored = [row for row in members if row.status == "scored"]
    unscored = len(members) - len(scored)
    values = {score.name: known_values(score, scored) for score in COUNTED_SCORES}
    mean, median = (
        {
            score: float(statistic(of_score)) if of_score else None
            for score, of_score in values.items()
        }
        for statistic in (np.mean, np.median)
    )
    return GroupRow(
        column,
        value,
        members[0].region,
        len(scored),
        unscored,
        mean,
        median,
        table.intervals(scored, COUNTED_SCORES),
    )


def _by_size(value: str) -> tuple[bool, float, str]:
    """Sort key: numbers by size, then words by letter, then `NOT_KNOWN`."""
    try:
        return False, float(value), value
    except ValueError:
        return True, float(value == NOT_KNOWN), value
