"""Statistics that compare runs on the same patients: intervals, paired tests, Holm's correction."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.stats import PermutationMethod, bootstrap, wilcoxon

#: What the statistics are, for the files that hold them.
INTERVAL = (
    "95 % interval of the mean over patients: percentile bootstrap, 9999 resamples of the patients "
    "from a fixed seed; none with fewer than 3 patients"
)
PAIRED_TEST = (
    "two-sided Wilcoxon signed-rank test of the differences of Dice by patient, zero differences "
    "left out, p = 1 if all are zero; Holm's correction over all pairs of all regions"
)

_RESAMPLES = 9999
_SEED = 0
# Values that are resampled at a time: their numbers and they themselves take 16 MB.
_AT_A_TIME = 2**20
_FEWEST_FOR_INTERVAL = 3
# Up to here every one of the 2^n signs is tried, so that ties need no approximation.
_MOST_ENUMERATED = 13
_NO_DIFFERENCE = 1e-12


@dataclass(frozen=True)
class Statistics:
    """Mean, median and 95 % interval of the mean of `n` values; the interval may be None."""

    n: int
    mean: float
    median: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Pair:
    """Test of two runs on the Dice of one region.

    Attributes:
        region: The region.
        first: One run.
        second: The other run.
        n: Patients that both have.
        mean_difference: Mean over patients of Dice of `first` less Dice of `second`.
        median_difference: Median of these differences.
        p: Two-sided p-value.
        p_holm: The same after Holm's correction over all pairs.
    """

    region: str
    first: str
    second: str
    n: int
    mean_difference: float
    median_difference: float
    p: float
    p_holm: float


def describe(values: Sequence[float]) -> Statistics:
    """Statistics of the values of patients, at least one; see `INTERVAL`."""
    interval = mean_interval(values) or (None, None)
    return Statistics(len(values), float(np.mean(values)), float(np.median(values)), *interval)


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean at 95 %, or None for fewer than three values.

    Runs with the same patients in the same order are resampled alike, as the seed is fixed.

    References:
        Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    if len(values) < _FEWEST_FOR_INTERVAL:
        return None
    found = bootstrap(
        (np.asarray(values, dtype=np.float64),),
        np.mean,
        n_resamples=_RESAMPLES,
        confidence_level=0.95,
        method="percentile",
        # What is drawn is one sequence, however it is cut.
        batch=max(1, _AT_A_TIME // len(values)),
        random_state=_SEED,
    ).confidence_interval
    return float(found.low), float(found.high)


def paired_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p-value of the Wilcoxon signed-rank test of paired values; see `PAIRED_TEST`.

    Exact up to 13 differences, ties included, and up to 50 without ties; else the normal
    approximation.

    Args:
        first: Scores of one run, by patient.
        second: Scores of the other, in the same order.

    >>> paired_p([0.9, 0.8, 0.7], [0.9, 0.8, 0.7]), paired_p([5, 6, 8, 9], [1, 1, 2, 2])
    (1.0, 0.125)
    """
    # 0.9 - 0.8 and 0.8 - 0.7 are one difference, and a tie.
    differences = np.round(np.subtract(first, second), 12)
    differences = differences[np.abs(differences) > _NO_DIFFERENCE]
    if differences.size < 2:
        return 1.0
    method: PermutationMethod | Literal["auto"] = (
        PermutationMethod(n_resamples=2**differences.size)
        if differences.size <= _MOST_ENUMERATED
        else "auto"
    )
    return float(wilcoxon(differences, method=method).pvalue)


def smallest_p(n: int) -> float:
    """Smallest two-sided p-value that a signed-rank test of `n` pairs can give: `2 / 2^n`.

    >>> smallest_p(5), smallest_p(1), smallest_p(3000)
    (0.0625, 1.0, 0.0)
    """
    # 2^1024 is beyond all numbers; one that small is 0.
    return min(1.0, math.ldexp(2.0, -n))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number, in the order given.

    The k-th smallest of m is multiplied by `m - k + 1`; none falls below a smaller one's.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]

    References:
        Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
        Statistics 6(2), 1979. https://www.jstor.org/stable/4615733
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def compare_pairs(dice: Mapping[str, Mapping[str, Mapping[str, float]]]) -> tuple[Pair, ...]:
    """Every pair of runs in every region, tested over the patients that both have.

    Args:
        dice: Region to run to patient to Dice.

    Returns:
        Pairs in the order of regions and runs; no pair without a common patient.
    """
    pairs = [
        _pair(region, names, [runs[name] for name in names])
        for region, runs in dice.items()
        for names in itertools.combinations(runs, 2)
        if runs[names[0]].keys() & runs[names[1]].keys()
    ]
    adjusted = holm([pair.p for pair in pairs])
    return tuple(replace(pair, p_holm=p) for pair, p in zip(pairs, adjusted, strict=True))


def _pair(region: str, names: tuple[str, str], scores: Sequence[Mapping[str, float]]) -> Pair:
    patients = sorted(scores[0].keys() & scores[1].keys())
    first, second = ([of_run[patient] for patient in patients] for of_run in scores)
    differences = np.subtract(first, second)
    p = paired_p(first, second)
    return Pair(
        region,
        *names,
        n=len(patients),
        mean_difference=float(differences.mean()),
        median_difference=float(np.median(differences)),
        p=p,
        p_holm=p,
    )
