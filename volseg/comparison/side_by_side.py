"""Runs side by side, on the cases, regions and scores that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from volseg.cases.identity import patient_of
from volseg.comparison.cost import Cost
from volseg.comparison.filled import filled_value, ranked_value
from volseg.comparison.ranking import Ranking, rank_runs
from volseg.comparison.scored_run import ScoredRun, SliceMeans, rated_scores
from volseg.comparison.statistics import Pair, Statistics, compare_pairs, describe_all
from volseg.errors import DataListError
from volseg.metrics.official.protocol import Protocol
from volseg.metrics.scores import Score

# Scores to rank by, as BraTS does, by the program of the protocol; None: our own scores. The
# program of 2026 shows false positives only in F1.
_LESIONS = ("lesion_dice", "lesion_hd95_mm")
_RANKED: Mapping[str | None, tuple[str, ...]] = {
    None: ("dice", "hd95_mm"),
    "legacy": ("legacy_dice", "legacy_hd95_mm"),
    "lesions": _LESIONS,
    "panoptic": (*_LESIONS, "lesion_f1"),
    "panoptic by size": (*_LESIONS, "lesion_f1"),
}


@dataclass(frozen=True)
class Comparison:
    """Runs side by side, on the cases and regions with scores in all runs.

    Attributes:
        runs: Runs, in the given order.
        regions: Names of the regions that all runs have.
        cases: Patient by case id, of the cases that all runs have scored.
        left_out: Why each other case is left out, by case id.
        unscored: Of the left out cases, those that all runs have and that are missing or failed in
            some, with their patient. They have the worst value where stated.
        costs: Cost by name of the run, of runs with a model file.
        machine: Device that the costs were measured on; empty without costs.
        same_loss: Whether all models were trained with the same loss, as far as known.
        failures: `(run, reason)` of each training that failed or left out a case.
        protocol: Protocol of the scores; None for our own scores.
    """

    runs: tuple[ScoredRun, ...]
    regions: tuple[str, ...]
    cases: Mapping[str, str]
    left_out: Mapping[str, str]
    unscored: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, Cost] = field(default_factory=dict)
    machine: str = ""
    same_loss: bool = True
    failures: tuple[tuple[str, str], ...] = ()
    protocol: Protocol | None = None

    @cached_property
    def scores(self) -> tuple[Score, ...]:
        """Scores that all runs have and that rate a prediction, in the order of their definition.

        The first is Dice.
        """
        return tuple(
            score
            for score in rated_scores(self.protocol)
            if all(score.name in run.scores for run in self.runs)
        )

    @cached_property
    def ranked_scores(self) -> tuple[Score, ...]:
        """The `scores` that runs are ranked by."""
        names = _RANKED[self.protocol.program if self.protocol else None]
        return tuple(score for score in self.scores if score.name in names)

    @cached_property
    def tested_scores(self) -> tuple[Score, ...]:
        """The `scores` that pairs of runs are tested on: Dice alone without a protocol."""
        return self.scores if self.protocol else self.scores[:1]

    @property
    def patients(self) -> tuple[str, ...]:
        """Ids of the patients of the cases, sorted."""
        return tuple(sorted(set(self.cases.values())))

    @property
    def missing_channels(self) -> dict[str, tuple[str, ...]]:
        """Missing channels by patient, in any run; zeros or another channel stand in."""
        found: dict[str, set[str]] = {}
        for run in self.runs:
            for case, channels in run.missing_channels.items():
                if case in self.cases and channels:
                    found.setdefault(self.cases[case], set()).update(channels)
        return {patient: tuple(sorted(found[patient])) for patient in sorted(found)}

    def by_patient(
        self, run: ScoredRun, region: str, score: str, *, all_cases: bool = False
    ) -> dict[str, float]:
        """Score by patient: the mean over the cases of the patient that have the score.

        Args:
            run: A run of the comparison.
            region: Name of a region.
            score: Name of one of the `scores`.
            all_cases: Whether unscored cases and cases without the score count too; see `FILLED`.
        """
        key = (run.name, region, score, all_cases)
        if key not in self._by_patient:
            definition = next(one for one in self.scores if one.name == score)
            self._by_patient[key] = self._means(run, region, definition, all_cases)
        return self._by_patient[key]

    @cached_property
    def _by_patient(self) -> dict[tuple[str, str, str, bool], dict[str, float]]:
        return {}

    def _means(
        self, run: ScoredRun, region: str, score: Score, all_cases: bool
    ) -> dict[str, float]:
        cases = {**self.cases, **(self.unscored if all_cases else {})}
        values: dict[str, list[float]] = {}
        for case, patient in sorted(cases.items(), key=lambda one: one[1]):
            value = (
                filled_value(run, self.runs, case, region, score)
                if all_cases
                else run.cases[case][region][score.name]
            )
            if value is not None:
                values.setdefault(patient, []).append(value)
        return {patient: float(np.mean(of_patient)) for patient, of_patient in values.items()}

    def statistics(self, run: ScoredRun, region: str, score: str) -> Statistics:
        """Statistics of a score over the patients of the scored cases."""
        return self._statistics[run.name, region, score]

    @cached_property
    def _statistics(self) -> dict[tuple[str, str, str], Statistics]:
        places = [
            (run, region, score.name)
            for run in self.runs
            for region in self.regions
            for score in self.scores
        ]
        found = describe_all([self.by_patient(*place) for place in places])
        return {
            (run.name, region, score): statistics
            for (run, region, score), statistics in zip(places, found, strict=True)
        }

    def mean_of_all(self, run: ScoredRun, region: str, score: Score) -> float | None:
        """Mean over patients with the worst value for unscored cases; None without worst value."""
        values = self.by_patient(run, region, score.name, all_cases=True)
        return float(np.mean([*values.values()])) if values and score.worst is not None else None

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
        """Test of each pair of runs in each region and tested score, over all cases."""
        return tuple(
            pair
            for score in self.tested_scores
            for pair in compare_pairs(
                {
                    region: {
                        run.name: self.by_patient(run, region, score.name, all_cases=True)
                        for run in self.runs
                    }
                    for region in self.regions
                },
                score.name,
            )
        )

    def better(self, pair: Pair) -> str:
        """Name of the run with the better mean of a pair; empty if both are equal."""
        higher = next(one.better for one in self.scores if one.name == pair.score) == "higher"
        difference = round(pair.mean_difference, 12)
        if difference == 0:
            return ""
        return pair.first if (difference > 0) == higher else pair.second

    @cached_property
    def ranking(self) -> Ranking | None:
        """Ranking of the runs over all cases; None for a single run."""
        if len(self.runs) < 2:
            return None
        patients = {**self.cases, **self.unscored}
        values = [
            [
                [
                    [ranked_value(run, self.runs, case, region, score) for run in self.runs]
                    for score in self.ranked_scores
                ]
                for region in self.regions
            ]
            for case in patients
        ]
        return rank_runs(values, self.ranked_scores, [run.name for run in self.runs], patients)


def line_up(runs: Sequence[ScoredRun], protocol: Protocol | None = None) -> Comparison:
    """Comparison of runs on the cases and regions that all of them have scored.

    Args:
        runs: Runs with scores of the same protocol.
        protocol: The protocol; None: our own scores.

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
    patients = {name: known.get(name) or patient_of(name) for name in reasons}
    return Comparison(
        runs=tuple(runs),
        regions=tuple(regions),
        cases={name: patients[name] for name in common},
        left_out={name: reason for name, reason in reasons.items() if reason},
        unscored={
            name: patients[name]
            for name, reason in reasons.items()
            if reason and all(_has(run, name, regions) for run in runs)
        },
        protocol=protocol,
    )


def _has(run: ScoredRun, case: str, regions: Sequence[str]) -> bool:
    """Whether a case is of the run: missing, failed or with a score of each region."""
    return case in run.unscored or (
        case in run.cases and all(region in run.cases[case] for region in regions)
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
