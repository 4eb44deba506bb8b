"""Intervals, paired tests and Holm's correction."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import rankdata

from volseg.comparison.statistics import (
    compare_pairs,
    describe,
    holm,
    paired_p,
    smallest_p,
)

# Heights of cross- less self-fertilised plants in eighths of an inch: Darwin 1876, as tested in
# many textbooks; W = 24 (96 the other way), p = 0.04126.
DARWIN = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]


def enumerated_p(differences):
    """The signed-rank test from its definition: every choice of signs is as likely as any other."""
    ranks = rankdata(np.abs(differences))
    centre = ranks.sum() / 2
    seen = abs(ranks[np.array(differences) > 0].sum() - centre)
    sums = [np.dot(ranks, signs) for signs in itertools.product([0, 1], repeat=len(differences))]
    return np.mean([abs(value - centre) >= seen - 1e-9 for value in sums])


def test_the_signed_rank_test_gives_the_published_value():
    assert paired_p(DARWIN, [0] * len(DARWIN)) == pytest.approx(0.041259765625, abs=1e-12)


@pytest.mark.parametrize(
    "differences",
    [
        [1, 2, 3, 4, 5],
        [3, -1, 4, -1, 5, -9, 2, 6],
        [1, 1, 1, -1, 1, 1, 2, 2, -2, 1],
        [1, -1],
        [0.5, 0.5, 0.5, 0.5, -0.5, 0.25],
    ],
)
def test_few_patients_are_tested_exactly_ties_included(differences):
    assert paired_p(differences, [0] * len(differences)) == pytest.approx(enumerated_p(differences))


def test_equal_scores_give_one_and_do_not_count_as_patients():
    assert paired_p([0.5, 0.7], [0.5, 0.7]) == 1.0
    assert paired_p([0.5, 0.7], [0.5, 0.6]) == 1.0
    assert paired_p([1, 2, 3, 4, 5, 7, 8], [0, 0, 0, 0, 0, 7, 8]) == 0.0625


def test_equal_differences_are_ties_whatever_rounding_makes_of_them():
    first, second = [0.9, 0.8, 0.3, 0.5], [0.8, 0.7, 0.2, 0.6]

    # Three times up and once down by 0.1; in binary, these are four different numbers.
    assert len({a - b for a, b in zip(first, second, strict=True)}) > 2
    assert paired_p(first, second) == pytest.approx(enumerated_p([1, 1, 1, -1]))


def test_no_p_value_falls_below_the_smallest():
    for n in range(1, 9):
        rising = [k / 10 for k in range(1, n + 1)]
        assert paired_p(rising, [0] * n) == pytest.approx(smallest_p(n))


def test_three_thousand_patients_are_compared():
    generator = np.random.default_rng(2)
    scores = generator.random(3000)
    runs = {
        "a": {f"p{n}": score for n, score in enumerate(scores)},
        "b": {f"p{n}": score for n, score in enumerate(scores + 0.01 + 0.02 * scores**2)},
    }

    (pair,) = compare_pairs({"WT": runs})

    assert (pair.n, smallest_p(pair.n)) == (3000, 0.0)
    assert pair.p == pair.p_holm < 1e-300
    assert pair.mean_difference == pytest.approx(-0.01 - 0.02 * np.mean(scores**2))


def test_many_patients_are_tested_without_complaint():
    generator = np.random.default_rng(1)
    first = np.round(generator.random(80), 1)

    assert paired_p(first, first) == 1.0
    assert paired_p(first, first - 0.05 - 0.01 * generator.random(80)) < 1e-10


def test_holm_gives_the_published_values():
    # Those that p.adjust of R gives, and by hand: 5 x 0.01, 4 x 0.02, 3 x 0.03, then no less.
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_by_hand_keeps_the_order_and_stays_at_most_one():
    # 3 x 0.2 = 0.6; then 2 x 0.6 = 1.2, held at 1; then 0.9, not below the one before.
    assert holm([0.9, 0.2, 0.6]) == pytest.approx([1.0, 0.6, 1.0])
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_pairs_are_tested_on_the_patients_that_both_have():
    a = {"p1": 0.9, "p2": 0.8, "p3": 0.7, "x": 0.0}
    b = {"p3": 0.4, "p2": 0.7, "p1": 0.7, "y": 1.0}

    (pair,) = compare_pairs({"WT": {"a": a, "b": b}})

    # Differences 0.2, 0.1, 0.3: all up, so p is the smallest of three patients, 2 / 2^3.
    assert (pair.region, pair.first, pair.second, pair.n) == ("WT", "a", "b", 3)
    assert (pair.mean_difference, pair.median_difference) == pytest.approx((0.2, 0.2))
    assert pair.p == pair.p_holm == pytest.approx(0.25)


def test_holm_counts_the_pairs_of_every_region():
    scores = {f"p{k}": k / 10 for k in range(1, 7)}
    nothing = dict.fromkeys(scores, 0.0)

    pairs = compare_pairs(
        {"WT": {"a": scores, "b": nothing, "c": nothing}, "TC": {"a": scores, "b": scores}}
    )

    assert [(p.region, p.first + p.second) for p in pairs] == [
        ("WT", "ab"),
        ("WT", "ac"),
        ("WT", "bc"),
        ("TC", "ab"),
    ]
    assert [p.p for p in pairs] == pytest.approx([1 / 32, 1 / 32, 1, 1])
    assert [p.p_holm for p in pairs] == pytest.approx([4 / 32, 4 / 32, 1, 1])


def test_runs_without_a_common_patient_are_no_pair():
    assert compare_pairs({"WT": {"a": {"p": 1.0}, "b": {"q": 1.0}}}) == ()


def test_two_patients_have_a_mean_and_no_interval():
    found = describe([0.5, 0.7])

    assert (found.n, found.mean, found.median) == pytest.approx((2, 0.6, 0.6))
    assert (found.low, found.high) == (None, None)
