"""Ranking as in BraTS: ranks of cases, final ranks, permutation test."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import permutation_test

from volseg.comparison.ranking import case_ranks, permutation_p, rank_runs
from volseg.metrics import get_score

DICE, HD95 = get_score("dice"), get_score("hd95_mm")
NONE = float("nan")

# Three tools, three cases, one region: Dice, then HD95.
THREE = [
    [[[0.9, 0.8, 0.7], [2.0, 4.0, 3.0]]],
    [[[0.5, 0.5, 0.9], [9.0, 9.0, 1.0]]],
    [[[0.6, 0.4, NONE], [5.0, 6.0, NONE]]],
]


def test_the_ranks_of_three_tools_in_three_cases_are_those_counted_by_hand():
    ranking = rank_runs(THREE, (DICE, HD95), ("a", "b", "c"), {"x": "x", "y": "y", "z": "z"})

    # x: Dice 1 2 3, HD95 1 3 2. y: the first two share 2 and 3. z: c is missing and last.
    assert ranking.cases == {
        "a": {"x": 1, "y": 2.5, "z": 1},
        "b": {"x": 2.5, "y": 2.5, "z": 2},
        "c": {"x": 2.5, "y": 1, "z": 3},
    }
    assert ranking.final == pytest.approx({"a": 4.5 / 3, "c": 6.5 / 3, "b": 7 / 3})
    assert list(ranking.final) == ["a", "c", "b"]
    assert [ranking.place(run) for run in "abc"] == [1, 3, 2]
    assert [(pair.ahead, pair.behind) for pair in ranking.pairs] == [
        ("a", "c"),
        ("a", "b"),
        ("c", "b"),
    ]


def test_the_p_values_of_three_cases_are_those_counted_by_hand():
    ranking = rank_runs(THREE, (DICE, HD95), ("a", "b", "c"), {"x": "x", "y": "y", "z": "z"})

    # b - a: 1.5, 0, 1 of sum 2.5; of eight sums of signs, 2.5 comes twice, by the sign of 0.
    assert ranking.p("a", "b") == 2 / 8
    # c - a: 1.5, -1.5, 2 of sum 2; 5 and twice 2 are not below it.
    assert ranking.p("a", "c") == 3 / 8
    # b - c: 0, 1.5, -1 of sum 0.5: 2.5 and 0.5, twice each.
    assert ranking.p("c", "b") == 4 / 8
    assert ranking.p("b", "a") is None


def test_regions_and_scores_have_equal_weight_in_the_rank_of_a_case():
    # Two regions, two scores: ranks of the first run 1, 1, 1 and 2.
    values = [[[[0.9, 0.1], [1, 2]], [[0.9, 0.1], [2, 1]]]]

    assert case_ranks(values, [True, False]).tolist() == [[1.25, 1.75]]


def test_a_missing_prediction_is_behind_the_worst_score():
    assert case_ranks([[[[0.0, NONE, NONE]]]], [True]).tolist() == [[1, 2.5, 2.5]]
    assert case_ranks([[[[374.0, NONE, 1.0]]]], [False]).tolist() == [[2, 3, 1]]


def test_equal_scores_are_ties_whatever_rounding_makes_of_them():
    assert 0.1 + 0.2 != 0.3

    assert case_ranks([[[[0.1 + 0.2, 0.3]]]], [True]).tolist() == [[1.5, 1.5]]


def test_few_patients_are_tested_exactly_as_by_enumeration():
    differences = np.random.default_rng(4).choice([-1, -0.5, 0, 0.5, 1.5], (9, 2)) + 0.25

    found = permutation_p(differences)

    for pair in range(2):
        observed = differences[:, pair].sum()
        sums = [
            sum(sign * value for sign, value in zip(signs, differences[:, pair], strict=True))
            for signs in itertools.product((1, -1), repeat=9)
        ]
        assert found[pair] == np.mean([value >= observed - 1e-9 for value in sums])


def test_many_patients_are_tested_as_by_scipy():
    generator = np.random.default_rng(7)
    ahead, behind = generator.random(60), generator.random(60) + 0.06

    (p,) = permutation_p((behind - ahead)[:, None])

    expected = permutation_test(
        (behind, ahead),
        lambda first, second, axis: np.mean(first, axis=axis) - np.mean(second, axis=axis),
        permutation_type="samples",
        vectorized=True,
        alternative="greater",
        n_resamples=20_000,
        batch=2000,
        random_state=1,
    )
    assert p == pytest.approx(expected.pvalue, abs=0.01)
    assert p == permutation_p((behind - ahead)[:, None])[0]


def test_no_p_value_is_zero():
    assert permutation_p(np.ones((17, 1)))[0] >= 1 / 100_001
    assert permutation_p(np.ones((200, 1)))[0] == 1 / 100_001
    assert permutation_p(np.ones((16, 1)))[0] == 2**-16


def test_the_examinations_of_a_patient_are_exchanged_together():
    values = [[[[0.9, 0.1]]], [[[0.9, 0.1]]], [[[0.9, 0.1]]]]
    patients = {"p-0": "p", "p-1": "p", "q-0": "q"}

    ranking = rank_runs(values, (DICE,), ("a", "b"), patients)

    # Two patients have four exchanges, three would have eight.
    assert ranking.p("a", "b") == 1 / 4
    assert ranking.n_patients == 2
    assert ranking.final == {"a": 1, "b": 2}


def test_runs_with_the_same_rank_share_a_place():
    ranking = rank_runs([[[[0.5, 0.5, 0.1]]]], (DICE,), ("a", "b", "c"), {"x": "x"})

    assert [ranking.place(run) for run in "abc"] == [1, 1, 3]
    assert ranking.p("a", "b") == 1
