"""Statistics of runs on the same patients: paired tests, Holm's correction."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.stats import PermutationMethod, wilcoxon

from volseg.metrics.statistics import Interval, mean_intervals

#: Definition of the test, for the files that hold it.
PAIRED_TEST = (
    "two-sided Wilcoxon signed-rank test of the differences of a score by patient, without zero "
    "differences, p = 1 if all are zero; Holm's correction over all pairs of all regions, for each "
    "score on its own"
)

# Differences up to which all 2^n signs are tried, so that ties need no approximation.
_MOST_ENUMERATED = 13
_NO_DIFFERENCE = 1e-12


@dataclass(frozen=True)
class Statistics:
    """Mean and median of `n` values, with the 95 % interval of the mean if it is known."""

    n: int
    mean: float | None
    median: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Pair:
    """Test of two runs on a score of one region.

    Attributes:
        region: Name of the region.
        first: Name of the first run.
        second: Name of the second run.
        n: Number of patients that both runs have.
        mean_difference: Mean over patients of the score of `first` minus that of `second`.
        median_difference: Median of these differences.
        p: Two-sided p-value.
        p_holm: p-value after Holm's correction over all pairs of the score.
        score: Name of the score.
    """

    region: str
    first: str
    second: str
    n: int
    mean_difference: float
    median_difference: float
    p: float
    p_holm: float
    score: str = "dice"


def describe(values: Sequence[float]) -> Statistics:
    """Statistics of values, a value for each patient; see `INTERVAL`."""
    (statistics,) = describe_all([dict(enumerate(values))])
    return statistics


def describe_all(rows: Sequence[Mapping[Any, float]]) -> list[Statistics]:
    """Statistics of each row of values by patient; rows of the same patients share resamples."""
    patients = list(dict.fromkeys(patient for row in rows for patient in row))
    intervals = mean_intervals([[row.get(p) for p in patients] for row in rows], patients)
    return [
        _statistics(list(row.values()), interval)
        for row, interval in zip(rows, intervals, strict=True)
    ]


def _statistics(values: Sequence[float], interval: Interval | None) -> Statistics:
    if not values:
        return Statistics(0, None, None)
    ends = interval or (None, None)
    return Statistics(len(values), float(np.mean(values)), float(np.median(values)), *ends)


def paired_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p-value of the Wilcoxon signed-rank test of paired values; see `PAIRED_TEST`.

    It is exact up to 13 differences, also with ties, and up to 50 differences without ties; beyond
    that it is the normal approximation.

    Args:
        first: Scores of the first run, by patient.
        second: Scores of the second run, in the same order.

    >>> paired_p([0.9, 0.8, 0.7], [0.9, 0.8, 0.7]), paired_p([5, 6, 8, 9], [1, 1, 2, 2])
    (1.0, 0.125)
    """
    # Rounding makes 0.9 - 0.8 and 0.8 - 0.7 the same difference, which is a tie.
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
    """Smallest two-sided p-value of a signed-rank test of `n` pairs: `2 / 2^n`, at most 1.

    >>> smallest_p(5), smallest_p(1), smallest_p(3000)
    (0.0625, 1.0, 0.0)
    """
    # ldexp gives 0 where 2^n would overflow.
    return min(1.0, math.ldexp(2.0, -n))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values after Holm's correction, in the given order.

    The k-th smallest of m p-values is multiplied by `m - k + 1`, and raised to the largest adjusted
    value before it.

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


def compare_pairs(
    values: Mapping[str, Mapping[str, Mapping[str, float]]], score: str = "dice"
) -> tuple[Pair, ...]:
    """Test each pair of runs in each region, over the patients that both runs have.

    Args:
        values: `{region: {run: {patient: score}}}`.
        score: Name of the score.

    Returns:
        Pairs in the order of regions and runs, without pairs that share no patient.
    """
    pairs = [
        _pair(region, names, [runs[name] for name in names])
        for region, runs in values.items()
        for names in itertools.combinations(runs, 2)
        if runs[names[0]].keys() & runs[names[1]].keys()
    ]
    adjusted = holm([pair.p for pair in pairs])
    return tuple(
        replace(pair, p_holm=p, score=score) for pair, p in zip(pairs, adjusted, strict=True)
    )


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
