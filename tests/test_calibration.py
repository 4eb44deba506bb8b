"""Reliability of probabilities, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from volseg.metrics.calibration import BINS, Reliability


def test_shares_and_means_are_by_interval():
    probabilities = np.array([0.0, 0.05, 0.62, 0.68, 1.0])
    reference = np.array([False, True, True, False, True])

    counts = Reliability.of(probabilities, reference)

    assert counts.voxels.tolist() == [2, 0, 0, 0, 0, 0, 2, 0, 0, 1]
    assert np.array(counts.curve) == pytest.approx(
        np.array([(0.025, 0.5), (0.65, 0.5), (1.0, 1.0)])
    )
    assert counts.ece == pytest.approx((2 * 0.475 + 2 * 0.15 + 0) / 5)


def test_a_perfectly_calibrated_model_has_no_error():
    probabilities = np.full(1000, 0.25)
    reference = np.arange(1000) % 4 == 0

    assert Reliability.of(probabilities, reference).ece == pytest.approx(0)


def test_counts_of_cases_add_up_to_those_of_all_voxels():
    rng = np.random.default_rng(0)
    probabilities, reference = rng.random(500), rng.random(500) < 0.3

    parts = [Reliability.of(probabilities[s], reference[s]) for s in (slice(100), slice(100, 500))]

    whole, added = Reliability.of(probabilities, reference), parts[0] + parts[1]
    assert added.ece == pytest.approx(whole.ece)
    assert added.voxels.tolist() == whole.voxels.tolist()
    assert len(whole.voxels) == BINS


def test_no_voxel_has_no_error_and_no_curve():
    nothing = Reliability.of(np.zeros(0), np.zeros(0, bool))

    assert (nothing.ece, nothing.curve) == (0.0, [])


def test_shapes_must_be_equal():
    with pytest.raises(ValueError, match=r"probabilities have shape \(2,\), reference \(3,\)"):
        Reliability.of(np.zeros(2), np.zeros(3, bool))
