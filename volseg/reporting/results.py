"""The folder that a report is about: scores of `evaluate`, or results of `infer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from volseg.errors import DataListError
from volseg.evaluation.records import read_records
from volseg.files.paths import recorded_path
from volseg.metrics.reading import read_summary
from volseg.metrics.record import SUMMARY_FILE
from volseg.results.journal import FAILURES, RECORDS
from volseg.results.manifest import read_manifests, unite


@dataclass(frozen=True)
class Results:
    """Scores, or results without references.

    Attributes:
        folder: Folder given by the user.
        scores: Content of `scores.json`; empty if there are no scores.
        manifest: Content of the manifests of the predictions; empty if they have none.
        predictions: Folders of the predictions; empty if they are not recorded.
    """

    folder: Path
    scores: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    predictions: tuple[Path, ...] = ()

    @property
    def records(self) -> Mapping[str, Any]:
        """Records of `infer` by case."""
        records: Mapping[str, Any] = self.manifest.get(RECORDS, {})
        return records

    @property
    def failures(self) -> dict[str, str]:
        """Reasons of cases without scores or results, by case."""
        if not self.scores:
            return dict(self.manifest.get(FAILURES, {}))
        reasons: dict[str, str] = self.scores.get("failures", {})
        missing = dict.fromkeys(self.scores.get("missing", ()), "no prediction")
        failed = dict.fromkeys(self.scores.get("failed", ()), "not scored")
        return failed | missing | reasons

    @property
    def case_ids(self) -> list[str]:
        """Cases with scores, or with results."""
        if not self.scores:
            return list(self.records)
        cases = self.scores["cases"]
        return [case_id for case_id in cases if cases[case_id]["status"] == "scored"]


def read_results(folder: Path) -> Results:
    """Read the scores or the manifests of a folder.

    Raises:
        DataListError: If the folder has neither, or a file cannot be read.
    """
    if (folder / SUMMARY_FILE).is_file():
        scores = read_summary(folder / SUMMARY_FILE)
        recorded = scores.get("predictions", [])
        named = recorded if isinstance(recorded, list) else [recorded]
        paths = tuple(
            recorded_path(name, scores, folder) for name in named if isinstance(name, str)
        )
        return Results(folder, scores, _together([read_records(path) for path in paths]), paths)
    try:
        manifests = read_manifests(folder)
    except (OSError, ValueError) as error:
        raise DataListError(f"{error}", remedy="move it away", path=folder) from None
    if not manifests:
        raise DataListError(
            f"{folder} holds neither scores.json nor manifest.json",
            remedy="give a folder that volseg evaluate or volseg infer wrote",
            path=folder,
        )
    return Results(folder, {}, unite(manifests), (folder,))


def _together(manifests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Content of the manifests of folders of different cases, such as those of folds."""
    if len(manifests) < 2:
        return dict(manifests[0]) if manifests else {}
    together: dict[str, Any] = {}
    for manifest in manifests:
        together |= manifest
    lists = {
        name: [each for manifest in manifests for each in manifest.get(name, ())]
        for name in ("models", "doubts")
    }
    records = {
        case_id: record
        for manifest in manifests
        for case_id, record in manifest.get(RECORDS, {}).items()
    }
    return together | lists | {RECORDS: records}
