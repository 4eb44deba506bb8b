"""Ranking of runs as in BraTS: ranks of each case, their mean, and a permutation test of pairs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from volseg.metrics.scores import Score

#: Definition of the ranking, for the files that hold it.
RANKING = (
    "in each case, region and score the runs are ranked from 1, the best; equal values share the "
    "mean of their ranks, and a missing or failed prediction is last. The rank of a case is the "
    "mean over regions and scores, and the final rank the mean over cases (Bakas et al. 2018, "
    "arXiv:1811.02629)"
)
RANK_TEST = (
    "one-sided permutation test of two runs: share of exchanges of their case ranks, patient by "
    "patient, in which the difference of the final ranks is at least the observed difference; all "
    "exchanges up to 16 patients, else 100,000 random exchanges with a fixed seed and the observed "
    "ranks. It is not corrected for the number of pairs"
)

_EXCHANGES = 100_000
_MOST_ENUMERATED = 16
_SEED = 0
# Exchanges to draw at a time: they take 8 MB.
_AT_A_TIME = 2**20
_NO_DIFFERENCE = 1e-9

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RankPair:
    """Test of two runs of a ranking.

    Attributes:
        ahead: Name of the run with the lower final rank, or with the same.
        behind: Name of the other run.
        difference: Final rank of `behind` minus final rank of `ahead`.
        p: One-sided p-value; see `RANK_TEST`.
    """

    ahead: str
    behind: str
    difference: float
    p: float


@dataclass(frozen=True)
class Ranking:
    """Runs in the order of their final ranks.

    Attributes:
        scores: Scores that the ranks are of.
        final: Final rank by name of the run, from the best.
        cases: `{run: {case_id: rank of the case}}`.
        n_patients: Number of patients of the cases.
        pairs: Each pair of runs, in the order of `final`.
    """

    scores: tuple[Score, ...]
    final: Mapping[str, float]
    cases: Mapping[str, Mapping[str, float]]
    n_patients: int
    pairs: tuple[RankPair, ...]

    @property
    def by(self) -> str:
        """Titles of the scores: `Dice and HD95`."""
        return " and ".join(score.title for score in self.scores)

    def place(self, run: str) -> int:
        """Place of a run from 1; runs with the same final rank share the first of their places."""
        own = self.final[run]
        return 1 + sum(rank < own - _NO_DIFFERENCE for rank in self.final.values())

    def p(self, ahead: str, behind: str) -> float | None:
        """The p-value of a pair; None if `ahead` is not before `behind` in the order."""
        found = (pair.p for pair in self.pairs if (pair.ahead, pair.behind) == (ahead, behind))
        return next(found, None)


def rank_runs(
    values: npt.ArrayLike,
    scores: Sequence[Score],
    runs: Sequence[str],
    patients: Mapping[str, str],
) -> Ranking:
    """Ranking of two or more runs; see `RANKING`.

    Args:
        values: Scores of shape (cases, regions, scores, runs); NaN for a missing or failed
            prediction.
        scores: Scores along the third axis; each is better when higher or when lower.
        runs: Names of the runs.
        patients: Patient by case id, in the order of the cases.
    """
    ranks = case_ranks(values, [score.better == "higher" for score in scores])
    final = dict(zip(runs, ranks.mean(axis=0).tolist(), strict=True))
    order = sorted(final, key=lambda run: round(final[run], 9))
    column = {run: index for index, run in enumerate(runs)}
    names = list(itertools.combinations(order, 2))
    differences = np.stack(
        [ranks[:, column[behind]] - ranks[:, column[ahead]] for ahead, behind in names], axis=1
    )
    p_values = permutation_p(_by_patient(differences, list(patients.values())))
    return Ranking(
        tuple(scores),
        {run: final[run] for run in order},
        {run: dict(zip(patients, ranks[:, column[run]].tolist(), strict=True)) for run in order},
        len(set(patients.values())),
        tuple(
            RankPair(ahead, behind, final[behind] - final[ahead], float(p))
            for (ahead, behind), p in zip(names, p_values, strict=True)
        ),
    )


def case_ranks(values: npt.ArrayLike, higher_is_better: Sequence[bool]) -> _Floats:
    """Mean rank of each run in each case, over regions and scores; shape (cases, runs).

    Args:
        values: Scores of shape (cases, regions, scores, runs); NaN is last.
        higher_is_better: Whether a higher value of each score is better.

    >>> dice = [[[[0.9, 0.8, 0.8]]]]
    >>> case_ranks(dice, [True]).tolist()
    [[1.0, 2.5, 2.5]]
    """
    # Rounded, so that equal scores are ties whatever the order of their sums.
    costs = np.round(np.asarray(values, dtype=np.float64), 12)
    costs = np.where(np.asarray(higher_is_better)[:, None], -costs, costs)
    ranks = rankdata(np.where(np.isnan(costs), np.inf, costs), axis=-1)
    return np.asarray(ranks.mean(axis=(1, 2)), dtype=np.float64)


def permutation_p(differences: _Floats) -> _Floats:
    """One-sided p-values of pairs; see `RANK_TEST`.

    Args:
        differences: Difference of ranks of shape (patients, pairs), summed over the cases of a
            patient, with a sum of at least 0 over the patients.

    >>> permutation_p(np.ones((3, 1))).tolist()
    [0.125]
    """
    patients = len(differences)
    observed = differences.sum(axis=0) - _NO_DIFFERENCE
    is_exact = patients <= _MOST_ENUMERATED
    # The observed ranks are one of the exchanges; all exchanges together hold them already.
    hits = np.full(differences.shape[1], 0 if is_exact else 1)
    number = 0 if is_exact else 1
    for signs in _all_signs(patients) if is_exact else _random_signs(patients):
        hits += (signs @ differences >= observed).sum(axis=0)
        number += len(signs)
    return np.asarray(hits / number, dtype=np.float64)


def _by_patient(differences: _Floats, patients: Sequence[str]) -> _Floats:
    _, index = np.unique(patients, return_inverse=True)
    sums = np.zeros((index.max() + 1, differences.shape[1]))
    np.add.at(sums, index, differences)
    return sums


def _all_signs(patients: int) -> Iterator[_Floats]:
    yield np.array(list(itertools.product((1.0, -1.0), repeat=patients)))


def _random_signs(patients: int) -> Iterator[_Floats]:
    generator = np.random.default_rng(_SEED)
    step = max(1, _AT_A_TIME // patients)
    for start in range(0, _EXCHANGES, step):
        shape = (min(step, _EXCHANGES - start), patients)
        yield generator.choice(np.array([1.0, -1.0]), shape)
