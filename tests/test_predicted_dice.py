"""Predicted Dice without a reference: features, fit, and figures of held-out cases."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from fitted_models import some_fit
from hypothesis import given, settings
from hypothesis import strategies as st

from volseg.confidence.dice_fit import DiceSample
from volseg.confidence.features import (
    OF_DISAGREEMENT,
    case_features,
    compactness,
    expected_dice,
    region_features,
    single_peak,
    steadiness,
)
from volseg.confidence.held_out import auc, measure_held_out, spearman
from volseg.confidence.predicted_dice import DicePredictor
from volseg.errors import ModelError

SPACING_MM = (1.0, 1.0, 1.0)
GOOD = {"expected_dice": 0.92, "compactness": 0.95, "single_peak": 1.0, "steadiness": 0.95}
POOR = {"expected_dice": 0.75, "compactness": 0.30, "single_peak": 0.8, "steadiness": 0.75}


def features(quality, *, members=False, voxels=100.0, highest=1.0):
    """Features between those of a poor (0) and of a good prediction (1)."""
    mixed = {name: POOR[name] + quality * (GOOD[name] - POOR[name]) for name in GOOD}
    if not members:
        del mixed[OF_DISAGREEMENT]
    return mixed | {"voxels": voxels, "highest": highest}


def samples(*pairs, region="WT", members=False):
    """Samples of patients with these qualities of the features and true Dice."""
    return [
        DiceSample(f"c{n}", f"p{n}", region, features(quality, members=members), dice)
        for n, (quality, dice) in enumerate(pairs)
    ]


def ball(size=21, radii=(8, 8, 8), centre=None):
    """Mask of an ellipsoid."""
    centre = [size // 2] * 3 if centre is None else centre
    places = np.indices((size, size, size)) - np.reshape(centre, (3, 1, 1, 1))
    return ((places / np.reshape(radii, (3, 1, 1, 1))) ** 2).sum(axis=0) <= 1


# Features


def test_the_expected_dice_is_the_overlap_over_the_sizes():
    probability = np.array([[[1.0, 0.5, 0.5, 0.0]]])
    mask = np.array([[[True, True, False, False]]])

    # 2 (1 + 0.5) / (2 + 1 + 0.5 + 0.5)
    assert expected_dice(probability, mask, SPACING_MM) == pytest.approx(3 / 4)


def test_the_expected_dice_of_certain_voxels_is_1_and_of_no_voxel_0():
    mask = ball()

    assert expected_dice(mask.astype(np.float32), mask, SPACING_MM) == pytest.approx(1)
    assert expected_dice(np.full(mask.shape, 0.4), np.zeros_like(mask), SPACING_MM) == 0


def test_probabilities_far_from_the_mask_do_not_count():
    probability = np.zeros((1, 1, 9))
    probability[..., 0], probability[..., 6] = 1.0, 0.9
    mask = probability >= 1

    assert expected_dice(probability, mask, SPACING_MM) == 1
    # With voxels of 0.25 mm it is 1.5 mm away: 2 / (1 + 1.9).
    assert expected_dice(probability, mask, (0.25,) * 3) == pytest.approx(2 / 2.9)


def test_the_expected_dice_stays_on_a_finer_grid():
    near = ball(size=11, radii=(4, 4, 4))
    probability = np.where(near, 0.8, np.where(ball(size=11, radii=(5, 5, 5)), 0.3, 0.0))
    finer = [np.kron(one, np.ones((2, 2, 2))) for one in (probability, near)]

    found = expected_dice(finer[0], finer[1] > 0, SPACING_MM)

    assert found == pytest.approx(expected_dice(probability, near, (2.0,) * 3), abs=0.02)


def test_an_ellipsoid_is_compact_and_two_distant_balls_are_not():
    near = ball(radii=(4, 4, 4), centre=(5, 10, 10))

    assert compactness(ball(radii=(9, 6, 4))) == pytest.approx(1, abs=0.03)
    assert compactness(near | ball(radii=(4, 4, 4), centre=(15, 10, 10))) < 0.8
    assert compactness(np.ones((1, 1, 1), bool)) == pytest.approx(0.887, abs=0.001)


def test_compactness_does_not_depend_on_the_spacing():
    mask = ball(radii=(9, 5, 5)) & ~ball(radii=(4, 3, 3))

    stretched = np.repeat(mask, 3, axis=2)

    assert compactness(stretched) == pytest.approx(compactness(mask), abs=0.01)


def test_two_equal_parts_with_a_gap_have_half_a_peak_along_the_axis():
    parts = np.zeros((5, 5, 7), bool)
    parts[2, 2, [1, 2, 4, 5]] = True

    # Along the first two axes there is one section.
    assert single_peak(parts) == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert single_peak(ball()) == 1


def test_long_profiles_are_compared_in_24_parts():
    rough = np.zeros((48, 4, 1), bool)
    rough[:, :2] = True
    rough[::2] = True

    # Each part of two sections holds six voxels.
    assert single_peak(rough) > single_peak(rough[:20])
    assert single_peak(rough) == pytest.approx(1)


def test_steadiness_compares_the_height_with_the_spread():
    probability, mask = np.array([[[0.5, 0.8, 0.9]]]), np.ones((1, 1, 3), bool)

    # Heights 0, 0.3, 0.4 with a spread of 0.3: 0, 0.09 / 0.18, 0.16 / 0.25.
    found = steadiness(probability, mask, np.full(mask.shape, 0.3))

    assert found == pytest.approx((0 + 0.5 + 0.64) / 3, abs=0.001)


def test_the_regions_of_a_case_share_the_shape_of_their_union():
    whole = ball()
    rim = whole & ~ball(radii=(6, 6, 6)) & (np.indices(whole.shape)[0] < 6)
    probabilities = np.stack([whole, rim]).astype(np.float32)

    found = case_features(probabilities, {"WT": whole, "ET": rim}, None, SPACING_MM)

    assert found["ET"]["compactness"] == found["WT"]["compactness"] == compactness(whole)
    assert compactness(rim) < 0.9 * compactness(whole)
    assert found["ET"]["voxels"] == np.count_nonzero(rim)
    assert OF_DISAGREEMENT not in found["ET"]


def test_an_empty_mask_has_finite_features():
    probability = np.full((3, 4, 5), 0.2, np.float32)
    empty = np.zeros((3, 4, 5), bool)

    found = region_features(probability, empty, probability, SPACING_MM)

    assert found["voxels"] == 0
    assert found["highest"] == pytest.approx(0.2)
    assert found["expected_dice"] == found["compactness"] == found["steadiness"] == 0


def test_arrays_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shape \(3, 4, 6\) is given for mask \(3, 4, 5\)"):
        region_features(np.zeros((3, 4, 6)), np.zeros((3, 4, 5), bool), None, SPACING_MM)


# Fit


@pytest.mark.parametrize("members", [False, True])
def test_the_order_of_the_cases_is_found(members):
    random = np.random.default_rng(0)
    pairs = [
        (q, float(np.clip(0.3 + 0.5 * q + random.normal(0, 0.05), 0, 1))) for q in random.random(20)
    ]

    fit = DicePredictor.fit(samples(*pairs, members=members))

    held_out = (fit.held_out_members if members else fit.held_out)["WT"]
    assert held_out.cases == 20
    assert held_out.spearman > 0.9
    assert held_out.mae < 0.1
    assert fit.predict("WT", features(1.0, members=members)).dice > 0.7
    assert fit.predict("WT", features(0.0, members=members)).dice < 0.4


def test_few_misleading_patients_change_the_weights_little():
    misleading = samples((0.0, 0.9), (0.5, 0.6), (1.0, 0.3))

    fit = DicePredictor.fit(misleading)

    assert fit.predict("WT", features(1.0)).dice > fit.predict("WT", features(0.0)).dice + 0.1


def test_the_level_follows_a_model_that_is_always_worse():
    fit = DicePredictor.fit(samples(*[(0.7, 0.3)] * 8))

    assert fit.predict("WT", features(0.7)).dice == pytest.approx(0.3, abs=0.07)


def test_the_interval_is_wide_with_few_patients_and_within_0_and_1():
    pairs = [(0.2 * n % 1, 0.4 + 0.4 * (0.2 * n % 1)) for n in range(30)]

    few, many = (
        DicePredictor.fit(samples(*pairs[:n])).predict("WT", features(0.5)) for n in (3, 30)
    )

    assert few.high - few.low > 1.5 * (many.high - many.low)
    assert 0 <= few.low < few.dice < few.high <= 1


def test_a_better_feature_never_lowers_the_predicted_dice():
    fit = DicePredictor.fit(samples((0.1, 0.9), (0.4, 0.2), (0.9, 0.1), (0.7, 0.5), members=True))
    start = features(0.5, members=True)

    for name in GOOD:
        better = start | {name: start[name] + 0.02}
        assert fit.predict("WT", better).dice >= fit.predict("WT", start).dice


def test_a_region_not_found_is_right_as_often_as_the_reference_is_empty():
    none = features(0, voxels=0.0, highest=0.4)
    found = [DiceSample("a", "a", "ET", none, 1.0), DiceSample("b", "b", "ET", none, 0.0)]

    fit = DicePredictor.fit(samples((0.5, 0.5), (0.8, 0.7), (0.2, 0.3)) + found)

    # One of two references is empty, and two more expected with probability 1 - 0.4.
    predicted = fit.predict("ET", none)
    assert predicted.dice == pytest.approx((2 * 0.6 + 1) / 4)
    assert (predicted.low, predicted.high) == (0, 1)
    assert fit.predict("WT", none).dice == pytest.approx(0.6)


def test_a_case_given_with_and_without_members_counts_once_in_each_fit():
    pairs = [(0.1, 0.3), (0.5, 0.5), (0.9, 0.8), (0.3, 0.4)]
    alone, several = samples(*pairs), samples(*pairs, members=True)

    both = DicePredictor.fit([*alone, *several])

    assert both.single == DicePredictor.fit(alone).single
    assert both.members == DicePredictor.fit(several).members
    assert both.held_out["WT"].cases == both.held_out_members["WT"].cases == 4
    assert DicePredictor.fit(alone).members is None


def test_a_fit_without_members_predicts_cases_that_have_them():
    fit = DicePredictor.fit(samples((0.1, 0.3), (0.5, 0.5), (0.9, 0.8)))

    with_members = fit.predict("WT", features(0.6, members=True))

    assert with_members == fit.predict("WT", features(0.6))


def test_no_sample_is_refused():
    with pytest.raises(ValueError, match="no sample"):
        DicePredictor.fit([])


_UNITS = st.floats(0, 1)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(_UNITS, _UNITS), min_size=1, max_size=4),
    st.fixed_dictionaries(dict.fromkeys(GOOD, _UNITS)),
    st.floats(0, 1e6),
)
def test_predictions_lie_within_0_and_1_and_inside_their_interval(pairs, of, voxels):
    fit = DicePredictor.fit(samples(*pairs, members=True))

    found = fit.predict("WT", of | {"voxels": voxels, "highest": 0.5})

    assert 0 <= found.low <= found.dice <= found.high <= 1


@settings(max_examples=25)
@given(st.permutations(range(6)))
def test_the_order_of_the_samples_does_not_matter(order):
    given_samples = samples((0.1, 0.3), (0.5, 0.5), (0.9, 0.8)) + [
        replace(one, region="ET") for one in samples((0.2, 0.1), (0.4, 0.6), (0.8, 0.9))
    ]

    fit = DicePredictor.fit([given_samples[n] for n in order])

    assert fit == DicePredictor.fit(given_samples)


# Files


def test_a_predictor_is_read_back_exactly():
    pairs = [(0.9, 0.7), (0.8, 0.5), (0.7, 0.6), (0.95, 0.9), (0.6, 0.3)]
    fitted = DicePredictor.fit(samples(*pairs) + samples(*pairs, members=True))

    assert DicePredictor.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


def damaged(**changes):
    content = DicePredictor.fit(samples((0.9, 0.7), (0.8, 0.5), (0.7, 0.6))).to_dict()
    return content | {"single": content["single"] | changes}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (damaged(patients="many"), "patients"),
        (damaged(mean=float("nan")), "mean"),
        (damaged(mean=1e200), "mean"),
        (damaged(error=0.0), "error"),
        (damaged(errors={"ET": -0.1}), "errors.ET"),
        (
            damaged() | {"held_out": {"XY": damaged()["held_out"]["WT"]}},
            "held_out is of XY, but the model has WT ET",
        ),
        (damaged(weights={"expected_dice": [0.9, 0.1, 1.0]}), "weights are of expected_dice, not"),
        (
            damaged(weights={name: [1.0, 0.0, 1.0] for name in list(GOOD)[:3]}),
            "is not centre, scale and weight",
        ),
        (damaged(empty={"ET": [1.0, 2.0]}), "empty.ET"),
        ({"shift": 1}, "single"),
        (damaged() | {"held_out": {"WT": {"cases": 3}}}, "bad"),
    ],
)
def test_a_damaged_predictor_is_refused(content, problem):
    with pytest.raises(ModelError, match="predicted_dice in m is not as volseg writes it") as error:
        DicePredictor.from_dict(content, "m", ("WT", "ET"))
    assert problem in str(error.value)


# Figures


def test_figures_of_held_out_cases():
    predicted, true = np.array([0.9, 0.5, 0.6, 0.3]), np.array([0.8, 0.4, 0.2, 0.75])

    assert spearman(predicted, true) == pytest.approx(0.2)
    # Bad are 0.5 and 0.6, the others 0.9 and 0.3: both pairs with 0.9 are in order.
    assert auc(predicted, true) == pytest.approx(0.5)
    assert measure_held_out(predicted, true, list("abcd")).mae == pytest.approx(0.2625)


def test_equal_predictions_have_no_rank_correlation_and_an_auc_of_one_half():
    same, true = np.full(4, 0.5), np.array([0.1, 0.5, 0.8, 0.9])

    assert spearman(same, true) is None
    assert auc(same, true) == 0.5
    assert auc(same, np.full(4, 0.9)) is None


def test_intervals_need_eight_patients_and_resamples_that_differ():
    values = [0.1, 0.5, 0.7, 0.9, 0.8, 0.2, 0.3, 0.4]
    swapped = [*values[:-2], 0.4, 0.3]

    assert measure_held_out(swapped, values, list("aabcdefg")).spearman_interval is None
    low, high = measure_held_out(swapped, values, list("abcdefgh")).spearman_interval
    assert 0.7 < low < high <= 1
    assert measure_held_out(values, values, list("abcdefgh")).spearman_interval is None


def test_a_fit_knows_its_patients_without_their_names():
    fit = some_fit(["WT"])

    plain = fit.to_dict()

    assert len(plain["patients"]) == 5
    assert all(len(mark) == 16 for mark in plain["patients"])
    again = DicePredictor.from_dict(plain)
    assert again.is_fitted_on("P3")
    assert not again.is_fitted_on("p5")
