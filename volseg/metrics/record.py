"""Files of scores, the same for each command: `scores.csv`, `scores.json` and their companions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from volseg.files.ownership import check_ours
from volseg.files.writing import move_into_place, remove, scratch_folder
from volseg.metrics.calibration_table import CALIBRATION_FILE, CalibrationTable
from volseg.metrics.doubts import doubts
from volseg.metrics.groups import Groups, GroupTable
from volseg.metrics.official.record import PROTOCOL_FILES, ProtocolRecord
from volseg.metrics.slices import SliceTable
from volseg.metrics.table import ScoreTable

#: Files of scores; the last two only if slices or groups are scored. See also `PROTOCOL_FILES`.
CASES_FILE, SUMMARY_FILE = "scores.csv", "scores.json"
SLICES_FILE, GROUPS_FILE = "slices.csv", "groups.csv"
SCORE_FILES = (CASES_FILE, SUMMARY_FILE, SLICES_FILE, GROUPS_FILE)
_OPTIONAL_FILES = (SLICES_FILE, GROUPS_FILE, CALIBRATION_FILE)


@dataclass(frozen=True)
class ScoreRecord:
    """Scores of a set of cases, with the groups and missing channels of the cases.

    Attributes:
        table: Scores of the patient volumes.
        slices: Scores of their slices; empty if slices are not scored.
        groups: `{case_id: {column: value}}`, such as `{"a": {"institution": "CS"}}`.
        missing_channels: `{case_id: channels}`; cases with all channels may be left out.
        protocols: Scores under official protocols.
        calibration: Calibration of the probabilities of these cases.
    """

    table: ScoreTable
    slices: SliceTable = field(default_factory=SliceTable)
    groups: Groups = field(default_factory=dict)
    missing_channels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    protocols: tuple[ProtocolRecord, ...] = ()
    calibration: CalibrationTable = field(default_factory=CalibrationTable)

    @property
    def by_group(self) -> GroupTable:
        """Scores by group; missing channels are one of the columns."""
        return GroupTable.of(self.table, self.groups, self.missing_channels)

    def write(self, folder: Path, about: Mapping[str, Any]) -> tuple[str, ...]:
        """Write `scores.csv`, `scores.json` and, if they apply, the files beside them.

        These are `slices.csv`, `groups.csv`, `calibration.csv` and the `protocol_files`. The files
        are put in their places once all are written, so a call that fails leaves the files of an
        earlier call as they were, or none. A file of an earlier call that no longer applies is
        removed, so that nobody takes it for a file of this call.

        Args:
            folder: An existing folder.
            about: Entries that `scores.json` starts with.

        Returns:
            Names of the written files.

        Raises:
            OutputError: If a file cannot be written.
        """
        with scratch_folder(folder, "scores") as finished:
            written = self._write_all(finished, about)
            for name in written:
                check_ours(folder / name)
            for name in written:
                move_into_place(finished / name, folder / name)
        for name in {*_OPTIONAL_FILES, *PROTOCOL_FILES}.difference(written):
            remove(folder / name)
        return written

    def _write_all(self, folder: Path, about: Mapping[str, Any]) -> tuple[str, ...]:
        """Write all files into an empty folder and return their names."""
        self.table.to_csv(folder / CASES_FILE)
        by_group = self.by_group
        self.table.to_json(folder / SUMMARY_FILE, {**about, **self._facts(by_group)})
        written = [CASES_FILE, SUMMARY_FILE]
        for part, name, is_there in (
            (self.slices, SLICES_FILE, self.slices.rows),
            (by_group, GROUPS_FILE, by_group.rows),
            (self.calibration, CALIBRATION_FILE, self.calibration.regions),
        ):
            if is_there:
                part.to_csv(folder / name)
                written.append(name)
        return (*written, *(name for each in self.protocols for name in each.write(folder)))

    def _facts(self, by_group: GroupTable) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "doubts": list(doubts(self.table)),
            "groups": {case: dict(values) for case, values in self.groups.items() if values},
            "missing_channels": {
                case: list(names) for case, names in self.missing_channels.items() if names
            },
            "group_scores": by_group.to_dict(),
            "calibration": self.calibration.to_dict(),
            "protocols": {each.protocol.name: each.to_dict() for each in self.protocols},
        }
        slices = self.slices.to_dict(self.table.patients) if self.slices.rows else {}
        return {name: fact for name, fact in facts.items() if fact} | slices
