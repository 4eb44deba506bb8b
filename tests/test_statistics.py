"""Bootstrap intervals of means over patients."""

import tracemalloc

import numpy as np
import pytest

from volseg.metrics.statistics import mean_interval, mean_intervals


def test_the_interval_is_that_of_resampled_patients():
    values = [0.2, 0.9, 0.85, 0.8, 0.95, 0.7, 0.88]
    generator = np.random.default_rng(5)
    means = generator.choice(values, (40_000, len(values))).mean(axis=1)

    low, high = mean_interval(values)

    assert (low, high) == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.006)
    assert mean_interval(values) == (low, high)


def test_an_interval_needs_three_patients():
    assert mean_interval([0.5, 0.6]) is None
    assert mean_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)


def test_the_interval_is_that_of_all_resamples_drawn_at_once():
    values = np.random.default_rng(3).random(300)
    drawn = np.random.RandomState(0).randint(0, 300, (9999, 300))
    means = values[drawn].mean(axis=1)

    assert mean_interval(values.tolist()) == pytest.approx(
        tuple(np.percentile(means, [2.5, 97.5])), rel=1e-12
    )


def test_the_interval_of_thousands_of_patients_needs_little_memory():
    values = np.random.default_rng(3).random(3064).tolist()
    mean_interval(values[:3])

    tracemalloc.start()
    mean_interval(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # All resamples at once are 245 MB, and so are the numbers that are drawn.
    assert peak < 40e6


def test_the_cases_of_a_patient_are_drawn_together():
    values, patients = [0.1, 0.2, 0.6, 0.9, 0.4], ["x", "x", "y", "z", "y"]
    (found,) = mean_intervals([values], patients)

    sums, sizes = np.array([0.3, 1.0, 0.9]), np.array([2, 2, 1])
    drawn = np.random.RandomState(0).randint(0, 3, (9999, 3))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    assert found == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))


def test_five_cases_of_two_patients_have_no_interval():
    assert mean_intervals([[0.1, 0.2, 0.3, 0.4, 0.5]], ["x", "x", "x", "y", "y"]) == [None]


def test_a_mean_without_some_cases_has_the_interval_of_the_others():
    values = [0.1, 0.2, 0.6, 0.9]
    rows = [[*values, 0.5], [*values, None], [None] * 5]

    of_all, of_four, of_none = mean_intervals(rows, "abcde")

    assert of_four == mean_interval(values)
    assert of_all == mean_interval([*values, 0.5]) != of_four
    assert of_none is None
