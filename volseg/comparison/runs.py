"""Runs to be compared, read from their folders, and what they have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from volseg.cases.data_list import read_data_list
from volseg.cases.identity import patient_of
from volseg.comparison.cost import Cost
from volseg.comparison.statistics import Pair, Statistics, compare_pairs, describe
from volseg.errors import DataListError, VolsegError
from volseg.files.writing import DATA_LIST_FILE, MODEL_FILE
from volseg.metrics.doubts import doubts
from volseg.metrics.reading import read_summary
from volseg.metrics.record import SUMMARY_FILE
from volseg.metrics.table import ScoreRow, ScoreTable
from volseg.runs.checkpoint_files import find_checkpoints
from volseg.runs.description import is_finished

SCORES = ("dice", "iou", "recall", "precision")

# Region to score to value, of one case.
_Scores = Mapping[str, Mapping[str, float]]
# Region to "tumour_slices" or "all_slices" to "n" and the mean of each score.
_Slices = Mapping[str, Mapping[str, Mapping[str, float | None]]]


@dataclass(frozen=True)
class ScoredRun:
    """A run, or the scores of another tool, as its folder tells of it.

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
    """

    name: str
    folder: Path
    network: str
    cases: Mapping[str, _Scores]
    unscored: Mapping[str, str]
    regions: tuple[str, ...]
    losses: Mapping[str, float] = field(default_factory=dict)
    slices: _Slices = field(default_factory=dict)
    missing_channels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    patients: Mapping[str, str] = field(default_factory=dict)
    ended: bool = True
    doubts: tuple[str, ...] = ()
    reference_voxels: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @property
    def model(self) -> Path | None:
        """Its model file, if there is one."""
        file = self.folder / MODEL_FILE
        return file if file.is_file() else None


@dataclass(frozen=True)
class Comparison:
    """Runs side by side on the cases and regions that all of them have scored.

    Attributes:
        runs: The runs, in the order given.
        regions: Regions of all of them.
        cases: Patient of each case that all have scored.
        left_out: Why each other case does not count.
        costs: Cost of each run that has a model, by name.
        machine: What the costs were measured on; empty without costs.
        one_loss: Whether all models were trained with the same loss, as far as known.
        failures: `(run, reason)` of each training that failed, and of cases that one left out.
    """

    runs: tuple[ScoredRun, ...]
    regions: tuple[str, ...]
    cases: Mapping[str, str]
    left_out: Mapping[str, str]
    costs: Mapping[str, Cost] = field(default_factory=dict)
    machine: str = ""
    one_loss: bool = True
    failures: tuple[tuple[str, str], ...] = ()

    @property
    def patients(self) -> tuple[str, ...]:
        """Patients of the cases, sorted."""
        return tuple(sorted(set(self.cases.values())))

    @property
    def missing_channels(self) -> dict[str, tuple[str, ...]]:
        """Channels of a patient that others stand in for in any run."""
        found: dict[str, set[str]] = {}
        for run in self.runs:
            for case, channels in run.missing_channels.items():
                if case in self.cases and channels:
                    found.setdefault(self.cases[case], set()).update(channels)
        return {patient: tuple(sorted(found[patient])) for patient in sorted(found)}

    def by_patient(self, run: ScoredRun, region: str, score: str) -> dict[str, float]:
        """Score of each patient: the mean over his or her cases."""
        values: dict[str, list[float]] = {patient: [] for patient in self.patients}
        for case, patient in self.cases.items():
            values[patient].append(run.cases[case][region][score])
        return {patient: float(np.mean(of_patient)) for patient, of_patient in values.items()}

    def statistics(self, run: ScoredRun, region: str, score: str) -> Statistics:
        """Statistics of a score over the patients."""
        return self._statistics[run.name, region, score]

    @cached_property
    def _statistics(self) -> dict[tuple[str, str, str], Statistics]:
        return {
            (run.name, region, score): describe(list(self.by_patient(run, region, score).values()))
            for run in self.runs
            for region in self.regions
            for score in SCORES
        }

    @property
    def other_references(self) -> tuple[str, ...]:
        """Cases of which two runs were scored against references of another size."""
        sizes: dict[tuple[str, str], set[int]] = {}
        for run in self.runs:
            for place, voxels in run.reference_voxels.items():
                sizes.setdefault(place, set()).add(voxels)
        cases = {case: None for (case, _), found in sizes.items() if len(found) > 1}
        return tuple(case for case in cases if case in self.cases)

    def loss(self, run: ScoredRun) -> float | None:
        """Mean of the validation losses of the cases, or None where one is not known."""
        if not all(case in run.losses for case in self.cases):
            return None
        return float(np.mean([run.losses[case] for case in self.cases]))

    def slices(self, run: ScoredRun) -> _Slices:
        """Means over slices; empty where they are also of cases that do not count here."""
        return run.slices if run.cases.keys() == self.cases.keys() else {}

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Test of each pair of runs in each region."""
        return compare_pairs(
            {
                region: {run.name: self.by_patient(run, region, "dice") for run in self.runs}
                for region in self.regions
            }
        )


def read_run(folder: Path, name: str) -> ScoredRun:
    """Scores of the run in `folder`.

    Args:
        folder: Run folder, or what `volseg evaluate` wrote.
        name: What to call it.

    Raises:
        DataListError: If it holds no scores, or no `scores.json` of volseg.
    """
    try:
        told = read_summary(folder / SUMMARY_FILE)
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
    return _parsed(told, folder, name)


def _parsed(told: Mapping[str, Any], folder: Path, name: str) -> ScoredRun:
    scored: dict[str, _Scores] = {}
    unscored: dict[str, str] = {}
    regions: dict[str, None] = {}
    for case_id, case in told["cases"].items():
        regions |= dict.fromkeys(case["regions"])
        if case["status"] != "scored":
            unscored[case_id] = case["status"]
            continue
        scored[case_id] = {
            region: {score: float(values[score]) for score in SCORES}
            for region, values in case["regions"].items()
            if all(values[score] is not None for score in SCORES)
        }
    return ScoredRun(
        name=name,
        folder=folder,
        network=str(told.get("network") or ""),
        cases=scored,
        unscored=unscored,
        regions=tuple(regions),
        # A loss that was not finite is null.
        losses={c: float(x) for c, x in (told.get("losses") or {}).items() if x is not None},
        slices=dict(told.get("slices") or {}),
        missing_channels=dict(told.get("missing_channels") or {}),
        patients=_patients(folder),
        ended=is_finished(folder) or not find_checkpoints(folder),
        doubts=_doubts(told),
        reference_voxels={
            (case_id, region): voxels
            for case_id, case in told["cases"].items()
            for region, values in case["regions"].items()
            if isinstance(voxels := values.get("reference_voxels"), int)
        },
    )


def _doubts(told: Mapping[str, Any]) -> tuple[str, ...]:
    """What `doubts` says of the scores of a run; nothing of those of others, without voxels."""
    sizes = ("prediction_voxels", "reference_voxels")
    rows = [
        ScoreRow(case_id, region, {name: values[name] for name in ("dice", *sizes)})
        for case_id, case in told["cases"].items()
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


def line_up(runs: Sequence[ScoredRun]) -> Comparison:
    """Runs side by side, on what all of them have scored.

    Raises:
        DataListError: If they share no region or no case.
    """
    regions = [
        region for region in runs[0].regions if all(region in run.regions for run in runs[1:])
    ]
    if not regions:
        raise DataListError(
            "no region in common: "
            + ", ".join(f"{run.name} has {' '.join(run.regions) or 'none'}" for run in runs),
            remedy="compare runs that segment the same regions",
        )
    names = dict.fromkeys(name for run in runs for name in (*run.cases, *run.unscored))
    reasons = {name: _why_not(name, runs, regions) for name in sorted(names)}
    common = [name for name, reason in reasons.items() if not reason]
    if not common:
        raise DataListError(
            "no case in common: " + ", ".join(f"{run.name} has {_some(run.cases)}" for run in runs),
            remedy="validate all runs on the same cases: the same data.data_list and data.fold",
        )
    known = {case: patient for run in runs for case, patient in run.patients.items()}
    return Comparison(
        runs=tuple(runs),
        regions=tuple(regions),
        cases={name: known.get(name) or patient_of(name) for name in common},
        left_out={name: reason for name, reason in reasons.items() if reason},
    )


def _why_not(case: str, runs: Sequence[ScoredRun], regions: Sequence[str]) -> str:
    """Why a case cannot be compared; empty if it can."""
    reasons = []
    for run in runs:
        if case in run.unscored:
            reasons.append(f"{run.unscored[case]} in {run.name}")
        elif case not in run.cases:
            reasons.append(f"not in {run.name}")
        elif not all(region in run.cases[case] for region in regions):
            reasons.append(f"without a region in {run.name}")
    return ", ".join(reasons)


def _some(names: Mapping[str, object]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return f"{shown}, ... ({len(names)})" if len(names) > 3 else shown or "none"
