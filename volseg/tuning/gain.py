"""The gain of tuned options: each case is scored with options chosen on other patients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.metrics.statistics import Interval, mean_intervals
from volseg.progress import track
from volseg.tuning.decoding import Decoding
from volseg.tuning.search import Scores, Space, search

#: Patients up to which each is held out alone; more are held out in folds.
MOST_ALONE = 10
FOLDS = 5


@dataclass(frozen=True, eq=False)
class Gain:
    """Scores of the held-out cases before and after tuning.

    Attributes:
        regions: Names of the regions.
        patients: Patient of each case.
        before: Scores (cases, R) with the initial options.
        after: Scores (cases, R), each with options chosen on other patients.
        chosen: Options chosen without each fold of patients, in turn.
    """

    regions: tuple[str, ...]
    patients: tuple[str, ...]
    before: npt.NDArray[np.float64]
    after: npt.NDArray[np.float64]
    chosen: tuple[Decoding, ...]

    @property
    def mean(self) -> float:
        """Mean gain over regions and cases."""
        return float((self.after - self.before).mean())

    @property
    def interval(self) -> Interval:
        """95 % interval of the mean gain, by bootstrap over patients."""
        return self._intervals((self.after - self.before).mean(axis=1, keepdims=True).T)[0]

    def by_region(self) -> Iterator[tuple[str, float, float, float, Interval]]:
        """Of each region: name, mean before, mean after, mean gain, interval of the gain."""
        difference = self.after - self.before
        intervals = self._intervals(difference.T)
        for number, region in enumerate(self.regions):
            before, after = self.before[:, number].mean(), self.after[:, number].mean()
            gain = difference[:, number].mean()
            yield region, float(before), float(after), float(gain), intervals[number]

    @property
    def is_real(self) -> bool:
        """Whether the interval of the mean gain lies above 0."""
        return self.interval[0] > 0

    def _intervals(self, rows: npt.NDArray[np.float64]) -> list[Interval]:
        found = mean_intervals(rows.tolist(), self.patients)
        return [interval for interval in found if interval is not None]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "patients": len(set(self.patients)),
            "cases": len(self.patients),
            "held_out": how_held_out(len(set(self.patients))),
            "gain": self.mean,
            "interval": list(self.interval),
            "regions": {
                region: {"before": before, "after": after, "gain": gain, "interval": list(interval)}
                for region, before, after, gain, interval in self.by_region()
            },
        }


def measure_gain(
    scores: Scores,
    initial: Decoding,
    regions: Sequence[str],
    patients: Sequence[str],
    held_out: Iterable[Sequence[int]],
    space: Space,
) -> Gain:
    """Choose options on all but some patients, score these with them, and so on for all patients.

    Args:
        scores: Scores of all cases.
        initial: Options of the model.
        regions: Names of the R scored regions.
        patients: Patient of each case.
        held_out: Indices of the cases of each fold; together they are all cases.
        space: The options to choose from.
    """
    (before,) = scores([initial])
    after, chosen = np.array(before), []
    folds = list(held_out)
    everything = np.arange(len(patients))
    for fold in track(folds, "searching without each fold", len(folds)):
        rest = np.setdiff1d(everything, fold)
        found = search(scores, initial, rest, space)
        after[fold] = scores([found])[0][fold]
        chosen.append(found)
    return Gain(tuple(regions), tuple(patients), before, after, tuple(chosen))


def folds_of(patients: Sequence[str]) -> list[list[int]]:
    """Cases to hold out together: of each patient alone, or of patients in folds.

    Args:
        patients: Patient of each case.

    Returns:
        Indices of the cases of each fold.
    """
    cases: dict[str, list[int]] = defaultdict(list)
    for case, patient in enumerate(patients):
        cases[patient].append(case)
    if len(cases) <= MOST_ALONE:
        return list(cases.values())
    # In an order that depends on neither names nor dates, and is the same each time.
    order = np.random.RandomState(0).permutation(sorted(cases))
    return [[n for name in order[start::FOLDS] for n in cases[name]] for start in range(FOLDS)]


def how_held_out(patients: int) -> str:
    """How patients are held out, in words."""
    return "one patient at a time" if patients <= MOST_ALONE else f"{FOLDS} folds of patients"
