"""The files that scores are kept in, the same of every command: cases, slices, groups, JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from volseg.files.writing import remove
from volseg.metrics.doubts import doubts
from volseg.metrics.groups import Groups, GroupTable
from volseg.metrics.slices import SliceTable
from volseg.metrics.table import ScoreTable

#: Files of scores; the last two only where there are slices, or groups.
CASES_FILE, SUMMARY_FILE = "scores.csv", "scores.json"
SLICES_FILE, GROUPS_FILE = "slices.csv", "groups.csv"
SCORE_FILES = (CASES_FILE, SUMMARY_FILE, SLICES_FILE, GROUPS_FILE)


@dataclass(frozen=True)
class ScoreRecord:
    """Scores of a set of cases, and what is known of the cases.

    Attributes:
        table: Scores of the patient volumes.
        slices: Those of their slices; empty if they were not asked for.
        groups: `{case_id: {column: value}}`, such as `{"a": {"institution": "CS"}}`.
        missing_channels: Channels that a case lacks; cases that lack none may be left out.
    """

    table: ScoreTable
    slices: SliceTable = field(default_factory=SliceTable)
    groups: Groups = field(default_factory=dict)
    missing_channels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def by_group(self) -> GroupTable:
        """Scores by group, missing channels being one more."""
        return GroupTable.of(self.table, self.groups, self.missing_channels)

    def write(self, folder: Path, about: Mapping[str, Any]) -> tuple[str, ...]:
        """Write `scores.csv` and `scores.json`, and `slices.csv` and `groups.csv` where they apply.

        Those of an earlier call that no longer apply are removed: they would pass for these.

        Args:
            folder: It exists.
            about: What `scores.json` holds first.

        Returns:
            Names of the files that were written.

        Raises:
            OutputError: If a file cannot be written.
        """
        self.table.to_csv(folder / CASES_FILE)
        by_group = self.by_group
        written = [CASES_FILE, SUMMARY_FILE]
        for part, name in ((self.slices, SLICES_FILE), (by_group, GROUPS_FILE)):
            if part.rows:
                part.to_csv(folder / name)
                written.append(name)
            else:
                remove(folder / name)
        self.table.to_json(folder / SUMMARY_FILE, {**about, **self._facts(by_group)})
        return tuple(written)

    def _facts(self, by_group: GroupTable) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "doubts": list(doubts(self.table)),
            "groups": {case: dict(values) for case, values in self.groups.items() if values},
            "missing_channels": {
                case: list(names) for case, names in self.missing_channels.items() if names
            },
            "group_scores": by_group.to_dict(),
        }
        slices = self.slices.to_dict() if self.slices.rows else {}
        return {name: fact for name, fact in facts.items() if fact} | slices
