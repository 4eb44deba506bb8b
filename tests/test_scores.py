"""What holds for every entry of the registry of scores, whichever they are."""

import numpy as np
import pytest

from volseg.metrics import (
    EMPTY_MASK_POLICY,
    HD95_PENALTY_MM,
    RATED_SCORES,
    SCORES,
    Overlap,
    RegionPair,
    get_score,
)

EMPTY, FULL = np.zeros((3, 4, 5), bool), np.ones((3, 4, 5), bool)
SIDES = np.array([1.0, 1.0, 2.0])


def pair(prediction, reference) -> RegionPair:
    overlap = Overlap.of(prediction, reference)
    return RegionPair(overlap, 0.002, (prediction, reference), SIDES)


def test_names_are_unique_and_end_with_their_unit():
    names = [score.name for score in SCORES]

    assert len(set(names)) == len(names)
    for score in SCORES:
        assert score.name.endswith(score.unit)
        assert score.definition


@pytest.mark.parametrize("score", RATED_SCORES, ids=lambda score: score.name)
def test_empty_masks_score_as_the_policy_says(score):
    assert score.compute(pair(EMPTY, EMPTY)) == score.best
    assert score.compute(pair(FULL, FULL)) == score.best
    assert score.compute(pair(FULL, EMPTY)) == score.worst
    assert score.compute(pair(EMPTY, FULL)) == score.worst


@pytest.mark.parametrize("score", RATED_SCORES, ids=lambda score: score.name)
def test_half_of_the_reference_scores_from_worst_to_best(score):
    half = FULL.copy()
    half[:, :, 2:] = False

    value = score.compute(pair(half, FULL))

    low, high = sorted((score.best, score.worst))
    assert low <= value <= high
    assert score.better == ("higher" if score.best == high else "lower")


@pytest.mark.parametrize("score", SCORES, ids=lambda score: score.name)
def test_what_needs_no_more_than_counts_is_computed_from_counts(score):
    whole, counts = pair(FULL, FULL), RegionPair(Overlap(tp=60, fp=0, fn=0))

    if score.counted:
        assert score.compute(counts) == score.compute(whole)
    elif score.unit:
        assert score.compute(counts) is None


def test_the_policy_names_every_rated_score():
    assert all(score.title in EMPTY_MASK_POLICY for score in RATED_SCORES)
    assert "both empty, Dice, IoU, precision" in EMPTY_MASK_POLICY
    assert "HD95 is 0 mm" in EMPTY_MASK_POLICY
    assert f"HD95 is {HD95_PENALTY_MM} mm" in EMPTY_MASK_POLICY


def test_values_are_rounded_for_csv_files_and_tables():
    dice, hd95, voxels = map(get_score, ("dice", "hd95_mm", "prediction_voxels"))

    assert (dice.rounded(2 / 3), dice.text(2 / 3)) == (0.66667, "0.667")
    assert (hd95.rounded(2**0.5), hd95.text(2**0.5)) == (1.4142, "1.41")
    assert (voxels.rounded(7), voxels.text(7)) == (7, "7")
    assert (dice.rounded(None), dice.text(None)) == (None, "-")
    assert hd95.heading == "HD95 (mm)"
