"""Temperature of probabilities: its arithmetic, its fit, and what it changes in a prediction."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from tiny_models import write_model

from volseg.confidence.temperature import LogitCounts, fit_temperature, tempered
from volseg.config import InferenceConfig
from volseg.config.training import TEMPERATURES
from volseg.errors import ConfigError
from volseg.inference.predictor import Predictor
from volseg.metrics.calibration import Reliability


def drawn(true_temperature, seed, shape=(40, 40, 20)):
    """Probabilities of a network whose logits are too large by a factor, and a reference."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, shape)
    reference = rng.random(shape) < expit(logits)
    return expit(logits * true_temperature).astype(np.float32), reference


def test_logits_are_divided_and_0_half_and_1_stay():
    odds = np.array([1 / 81, 1 / 9, 1.0, 9.0, 81.0])
    p = (odds / (1 + odds)).astype(np.float32)

    halved = tempered(p, 2.0)

    root = np.sqrt(odds)
    assert halved == pytest.approx(root / (1 + root), rel=1e-5)
    assert halved.dtype == np.float32
    ends = tempered(np.array([0, 1e-38, 0.5, 1], np.float32), 3.0)
    assert ends[0] == 0
    assert ends[2] == 0.5
    assert 0.99 < ends[3] < 1
    assert np.isfinite(ends).all()


def test_order_stays_at_all_temperatures():
    p = np.sort(np.random.default_rng(0).random(1000).astype(np.float32) ** 8)

    for temperature in (*TEMPERATURES, 0.7, 3.0):
        changed = tempered(p, temperature)
        assert (np.diff(changed) >= 0).all()
        assert ((changed >= 0.5) == (p >= 0.5)).all()


def test_a_temperature_of_1_changes_no_bit():
    p = np.random.default_rng(0).random(100).astype(np.float32)

    assert tempered(p, 1.0) is p


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_of_synthetic_logits_is_recovered(true):
    cases = [LogitCounts.of(*drawn(true, seed)) for seed in range(3)]

    fitted = fit_temperature(cases)

    assert fitted == pytest.approx(true, rel=0.03)
    assert sum(case.nll(fitted) for case in cases) <= sum(case.nll(1.0) for case in cases)


def test_each_case_has_the_same_weight():
    calibrated, sharp = drawn(1.0, 0, (10, 40, 40)), drawn(4.0, 1, (10, 40, 40))
    small = [LogitCounts.of(*calibrated), LogitCounts.of(*sharp)]
    thousandfold = LogitCounts(small[1].voxels * 1000, small[1].positives * 1000)

    assert fit_temperature([small[0], thousandfold]) == fit_temperature(small)


def test_the_likelihood_is_that_of_the_voxels():
    p, reference = drawn(2.0, 3, (20, 20, 20))
    changed = tempered(p, 1.7).astype(np.float64)
    by_hand = -np.where(reference, np.log(changed), np.log1p(-changed)).mean()

    counts = LogitCounts.of(p, reference)

    assert counts.nll(1.7) == pytest.approx(by_hand, abs=1e-4)
    plain = Reliability.of(tempered(p, 1.7), reference)
    assert counts.reliability(1.7).ece == pytest.approx(plain.ece, abs=2e-3)
    assert counts.reliability(1.7).voxels.sum() == p.size


def test_counts_of_cases_add_up():
    (p, reference), (other, of_other) = drawn(1.0, 0), drawn(2.0, 1)

    added = LogitCounts.of(p, reference) + LogitCounts.of(other, of_other)

    together = LogitCounts.of(np.stack([p, other]), np.stack([reference, of_other]))
    assert (added.voxels == together.voxels).all()
    assert (added.positives == together.positives).all()


def test_probabilities_of_0_stay_0_in_the_likelihood_too():
    p = np.zeros((20, 20, 20), np.float32)
    p[:10] = 0.98
    reference = np.zeros_like(p, np.bool_)
    reference[:10, :15] = True

    counts = LogitCounts.of(p, reference)

    # Of the voxels with logit log(49), three quarters are positive, whose logit is log(3).
    assert counts.voxels.sum() == p.size
    assert fit_temperature([counts]) == pytest.approx(np.log(49) / np.log(3), abs=0.02)
    assert counts.nll(3.54) == pytest.approx((-0.75 * np.log(0.75) - 0.25 * np.log(0.25)) / 2, 1e-3)
    assert counts.reliability(3.54).ece == pytest.approx(0, abs=0.002)
    assert counts.reliability(1.0).ece == pytest.approx((0.98 - 0.75) / 2, abs=0.001)


def test_only_voxels_near_the_region_are_counted():
    p, reference = np.zeros((60, 60, 60), np.float32), np.zeros((60, 60, 60), np.bool_)
    p[30, 30, 30] = reference[30, 30, 31] = True

    assert LogitCounts.of(p, reference).voxels.sum() == 21 * 21 * 22
    assert LogitCounts.of(np.zeros_like(p), np.zeros_like(reference)).voxels.sum() == 0


def test_too_few_voxels_are_refused_with_their_number():
    p, reference = drawn(1.0, 0, (20, 20, 20))

    with pytest.raises(ValueError, match="0 of 8000 voxels around the region are in the reference"):
        fit_temperature([LogitCounts.of(p, np.zeros_like(reference))])
    with pytest.raises(ValueError, match="0 of 0 voxels"):
        fit_temperature([])


def test_a_perfect_network_reaches_the_least_temperature_and_not_less():
    _, reference = drawn(1.0, 0, (20, 20, 20))

    fitted = fit_temperature(
        [LogitCounts.of(reference * np.float32(0.8) + np.float32(0.1), reference)]
    )

    assert fitted == TEMPERATURES[0]


def test_a_temperature_changes_probabilities_and_never_the_label_map(tmp_path, cohort):
    case_folder = next(path for path in sorted((cohort / "scans").iterdir()) if path.is_dir())
    model = write_model(tmp_path / "model.safetensors")
    values = Predictor(model, device="cpu").predict(case_folder).probabilities["WT"]
    threshold = float(np.quantile(values[values > 0], 0.8))
    plain, hot, one = (
        Predictor(model, device="cpu", threshold=threshold, **options).predict(case_folder)
        for options in ({}, {"temperature": {"WT": 3.0}}, {"temperature": 1})
    )

    assert plain.label_map.any()
    assert (plain.label_map == hot.label_map).all()
    assert (hot.probabilities["WT"] == tempered(plain.probabilities["WT"], 3.0)).all()
    assert (hot.probabilities["WT"] != plain.probabilities["WT"]).any()
    for region in plain.probabilities:
        assert (one.probabilities[region] == plain.probabilities[region]).all()
        if region != "WT":
            assert (hot.probabilities[region] == plain.probabilities[region]).all()


def test_a_temperature_is_a_number_or_by_region():
    assert InferenceConfig().temperature_of("WT") == 1
    assert InferenceConfig(temperature=2).temperature_of("WT") == 2
    by_region = InferenceConfig(temperature={"WT": 1.5})
    assert [by_region.temperature_of(region) for region in ("WT", "ET")] == [1.5, 1]


@pytest.mark.parametrize("value", ["0", "11", "true", "{WT: 0}", "{XY: 2}", "hot"])
def test_a_temperature_that_makes_no_sense_is_refused(value, tmp_path):
    model = write_model(tmp_path / "model.safetensors")

    with pytest.raises(ConfigError, match="temperature"):
        Predictor(model, device="cpu", overrides=[f"inference.temperature={value}"])
