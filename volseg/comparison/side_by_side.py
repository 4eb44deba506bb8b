"""Runs side by side, on the cases, regions and scores that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from volseg.cases.identity import patient_of
from volseg.comparison.cost import Cost
from volseg.comparison.scored_run import ScoredRun, SliceMeans
from volseg.comparison.statistics import Pair, Statistics, compare_pairs, describe
from volseg.errors import DataListError
from volseg.metrics.scores import COUNTED_SCORES, Score


@dataclass(frozen=True)
class Comparison:
    """Runs side by side, on the cases and regions with scores in all runs.

    Attributes:
        runs: Runs, in the given order.
        regions: Names of the regions that all runs have.
        cases: Patient by case id, of the cases that all runs have scored.
        left_out: Why each other case is left out, by case id.
        costs: Cost by name of the run, of runs with a model file.
        machine: Device that the costs were measured on; empty without costs.
        same_loss: Whether all models were trained with the same loss, as far as known.
        failures: `(run, reason)` of each training that failed or left out a case.
    """

    runs: tuple[ScoredRun, ...]
    regions: tuple[str, ...]
    cases: Mapping[str, str]
    left_out: Mapping[str, str]
    costs: Mapping[str, Cost] = field(default_factory=dict)
    machine: str = ""
    same_loss: bool = True
    failures: tuple[tuple[str, str], ...] = ()

    @cached_property
    def scores(self) -> tuple[Score, ...]:
        """Scores that all runs have, in the order of `COUNTED_SCORES`."""
        return tuple(
            score for score in COUNTED_SCORES if all(score.name in run.scores for run in self.runs)
        )

    @property
    def patients(self) -> tuple[str, ...]:
        """Ids of the patients of the cases, sorted."""
        return tuple(sorted(set(self.cases.values())))

    @property
    def missing_channels(self) -> dict[str, tuple[str, ...]]:
        """Missing channels by patient, in any run; another channel stands in for them."""
        found: dict[str, set[str]] = {}
        for run in self.runs:
            for case, channels in run.missing_channels.items():
                if case in self.cases and channels:
                    found.setdefault(self.cases[case], set()).update(channels)
        return {patient: tuple(sorted(found[patient])) for patient in sorted(found)}

    def by_patient(self, run: ScoredRun, region: str, score: str) -> dict[str, float]:
        """Score by patient: the mean over the cases of the patient."""
        values: dict[str, list[float]] = {patient: [] for patient in self.patients}
        for case, patient in self.cases.items():
            values[patient].append(run.cases[case][region][score])
        return {patient: float(np.mean(of_patient)) for patient, of_patient in values.items()}

    def statistics(self, run: ScoredRun, region: str, score: str) -> Statistics:
        """Statistics of a score over all patients."""
        return self._statistics[run.name, region, score]

    @cached_property
    def _statistics(self) -> dict[tuple[str, str, str], Statistics]:
        return {
            (run.name, region, score.name): describe(
                list(self.by_patient(run, region, score.name).values())
            )
            for run in self.runs
            for region in self.regions
            for score in self.scores
        }

    @property
    def other_references(self) -> tuple[str, ...]:
        """Cases whose reference has different numbers of voxels in two runs."""
        sizes: dict[tuple[str, str], set[int]] = {}
        for run in self.runs:
            for place, voxels in run.reference_voxels.items():
                sizes.setdefault(place, set()).add(voxels)
        cases = {case: None for (case, _), found in sizes.items() if len(found) > 1}
        return tuple(case for case in cases if case in self.cases)

    def loss(self, run: ScoredRun) -> float | None:
        """Mean validation loss of the cases; None if the loss of a case is not known."""
        if not all(case in run.losses for case in self.cases):
            return None
        return float(np.mean([run.losses[case] for case in self.cases]))

    def slices(self, run: ScoredRun) -> SliceMeans:
        """Means over slices of a run; empty if they include cases that the comparison lacks."""
        return run.slices if run.cases.keys() == self.cases.keys() else {}

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Statistical test of each pair of runs in each region."""
        return compare_pairs(
            {
                region: {run.name: self.by_patient(run, region, "dice") for run in self.runs}
                for region in self.regions
            }
        )


def line_up(runs: Sequence[ScoredRun]) -> Comparison:
    """Comparison of runs on the cases and regions that all of them have scored.

    Raises:
        DataListError: If the runs share no region or no case.
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
    """Reason why a case cannot be compared; empty if it can be."""
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
