"""Table of the scores of each subset of channels: means and intervals by region, CSV and JSON."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from volseg.channel_subsets.choice import Subset
from volseg.files.writing import atomic_write
from volseg.metrics import get_score
from volseg.metrics.table import ScoreTable

_COLUMNS = ("channels", "region", "cases", "dice", "dice_low", "dice_high", "dice_median")


@dataclass(frozen=True)
class SubsetRow:
    """Dice of a region with a subset of the channels.

    Attributes:
        subset: Channels that were kept.
        region: Name of the region.
        cases: Number of scored cases.
        mean: Mean Dice; None without cases.
        interval: 95 % interval of the mean; None for fewer than three patients.
        median: Median Dice.
    """

    subset: Subset
    region: str
    cases: int
    mean: float | None
    interval: tuple[float, float] | None
    median: float | None


@dataclass(frozen=True)
class SubsetTable:
    """Scores of each subset.

    Attributes:
        channels: Channels of the model, in order.
        tables: Scores of the cases by subset, in the order of the table.
    """

    channels: tuple[str, ...]
    tables: Mapping[Subset, ScoreTable]

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of the regions."""
        return tuple(dict.fromkeys(name for of in self.tables.values() for name in of.regions))

    def rows(self) -> Iterator[SubsetRow]:
        """A row for each subset and region."""
        for subset, table in self.tables.items():
            for region, of in table.summary().items():
                dice = of["dice"]
                interval = tuple(dice["interval"]) if dice["interval"] else None
                yield SubsetRow(
                    subset, region, of["n_cases"], dice["mean"], interval, dice["median"]
                )

    def averages(self) -> dict[str, float | None]:
        """Mean over the subsets of the mean Dice, by region; None if a subset has no score."""
        means: dict[str, list[float | None]] = {region: [] for region in self.regions}
        for row in self.rows():
            means[row.region].append(row.mean)
        return {
            region: None if None in of else fmean(value for value in of if value is not None)
            for region, of in means.items()
        }

    def to_csv(self, path: Path) -> None:
        """Write a line for each subset and region, with 1 for each kept channel; OutputError."""
        rounded = get_score("dice").rounded
        with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*_COLUMNS, *self.channels])
            for row in self.rows():
                numbers = (row.mean, *(row.interval or (None, None)), row.median)
                kept = [int(channel in row.subset) for channel in self.channels]
                line = [" ".join(row.subset), row.region, row.cases]
                writer.writerow([*line, *map(rounded, numbers), *kept])

    def to_list(self) -> list[dict[str, Any]]:
        """Plain data of each subset: channels kept, statistics and scores of the cases."""
        plain = {subset: table.to_dict() for subset, table in self.tables.items()}
        kept = ("summary", "cases", "missing", "failed")
        return [
            {"channels": list(subset)} | {name: of[name] for name in kept}
            for subset, of in plain.items()
        ]
