"""A run to be compared: its scores, as its folder holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from volseg.cases.data_list import read_data_list
from volseg.errors import DataListError, VolsegError
from volseg.files.writing import DATA_LIST_FILE, MODEL_FILE
from volseg.metrics.doubts import doubts
from volseg.metrics.reading import read_summary, scores_of
from volseg.metrics.record import SUMMARY_FILE
from volseg.metrics.scores import COUNTED_SCORES
from volseg.metrics.table import ScoreRow, ScoreTable
from volseg.runs.checkpoint_files import find_checkpoints
from volseg.runs.description import is_finished

# Region to score to value, of one case.
RegionScores = Mapping[str, Mapping[str, float]]
# Region to "tumour_slices" or "all_slices" to "n" and the mean of each score.
SliceMeans = Mapping[str, Mapping[str, Mapping[str, float | None]]]


@dataclass(frozen=True)
class ScoredRun:
    """A run, or the scores of another tool, as its folder holds them.

    Attributes:
        name: What it is called in the tables.
        folder: Where it is.
        network: Name of its network; empty if its scores do not say.
        cases: Scores of each scored case.
        unscored: Why each other case has none: "missing" or "failed".
        regions: Names of its regions, in order.
        losses: Validation loss of each case; empty if not known.
        slices: Means over slices by region, as `SliceTable.summary` gives them; empty without.
        missing_channels: Channels of a case that others stand in for.
        patients: Patient of each case that its data list names.
        ended: False where a training was stopped or still goes on, as far as known.
        doubts: What its scores do not say, such as that it finds nothing.
        reference_voxels: Of each case and region, where its scores say.
        scores: Names of the `COUNTED_SCORES` that it has, in that order.
    """

    name: str
    folder: Path
    network: str
    cases: Mapping[str, RegionScores]
    unscored: Mapping[str, str]
    regions: tuple[str, ...]
    losses: Mapping[str, float] = field(default_factory=dict)
    slices: SliceMeans = field(default_factory=dict)
    missing_channels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    patients: Mapping[str, str] = field(default_factory=dict)
    ended: bool = True
    doubts: tuple[str, ...] = ()
    reference_voxels: Mapping[tuple[str, str], int] = field(default_factory=dict)
    scores: tuple[str, ...] = tuple(score.name for score in COUNTED_SCORES)

    @property
    def model(self) -> Path | None:
        """Its model file, if there is one."""
        file = self.folder / MODEL_FILE
        return file if file.is_file() else None


def read_run(folder: Path, name: str) -> ScoredRun:
    """Scores of the run in `folder`.

    Args:
        folder: Run folder, or what `volseg evaluate` wrote.
        name: What to call it.

    Raises:
        DataListError: If it holds no scores, or no `scores.json` of volseg.
    """
    try:
        summary = read_summary(folder / SUMMARY_FILE)
    except DataListError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise DataListError(
            f"{folder} has no {SUMMARY_FILE}",
            remedy=(
                "train it with this volseg (volseg fit), or score its results (volseg evaluate "
                "RESULTS REFERENCE -o FOLDER) and give that folder"
            ),
            path=folder,
        ) from None
    return _parsed(summary, folder, name)


def _parsed(summary: Mapping[str, Any], folder: Path, name: str) -> ScoredRun:
    scores = scores_of(summary)
    scored: dict[str, RegionScores] = {}
    unscored: dict[str, str] = {}
    regions: dict[str, None] = {}
    for case_id, case in summary["cases"].items():
        regions |= dict.fromkeys(case["regions"])
        if case["status"] != "scored":
            unscored[case_id] = case["status"]
            continue
        scored[case_id] = {
            region: {score: float(values[score]) for score in scores}
            for region, values in case["regions"].items()
            if all(values[score] is not None for score in scores)
        }
    return ScoredRun(
        name=name,
        folder=folder,
        network=str(summary.get("network") or ""),
        cases=scored,
        unscored=unscored,
        regions=tuple(regions),
        # A loss that was not finite is null.
        losses={c: float(x) for c, x in (summary.get("losses") or {}).items() if x is not None},
        slices=dict(summary.get("slices") or {}),
        missing_channels=dict(summary.get("missing_channels") or {}),
        patients=_patients(folder),
        ended=is_finished(folder) or not find_checkpoints(folder),
        doubts=_doubts(summary),
        reference_voxels={
            (case_id, region): voxels
            for case_id, case in summary["cases"].items()
            for region, values in case["regions"].items()
            if isinstance(voxels := values.get("reference_voxels"), int)
        },
        scores=scores,
    )


def _doubts(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """What `doubts` says of the scores of a run; nothing of those of others, without voxels."""
    sizes = ("prediction_voxels", "reference_voxels")
    rows = [
        ScoreRow(case_id, region, {name: values[name] for name in ("dice", *sizes)})
        for case_id, case in summary["cases"].items()
        for region, values in case["regions"].items()
        if values["dice"] is not None and all(isinstance(values.get(size), int) for size in sizes)
    ]
    return doubts(ScoreTable.of(rows))


def _patients(folder: Path) -> dict[str, str]:
    """Patient of each case of the run's data list, if it has one."""
    file = folder / DATA_LIST_FILE
    if not file.is_file():
        return {}
    try:
        # No image is opened, so any root will do.
        data_list = read_data_list(file, folder)
    except VolsegError:
        return {}
    return {case.case_id: case.patient_id for case in data_list.cases()}
