"""Lesion-wise scores beside figures of the official programs of 2023 and 2025.

`official/` holds what the programs print for the pairs of `official_pairs`, to all digits.
"""

import json
import pickle
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from official_pairs import pair, spacing_of

from volseg.errors import ConfigError
from volseg.labels import get_scheme
from volseg.metrics import PROTOCOLS, get_protocol, lesionwise_scores

OFFICIAL = Path(__file__).parent / "official"
#: Protocols with figures.
FIGURES = sorted(path.stem for path in OFFICIAL.glob("*.json") if path.stem < "brats2026")

# Keys of the figures, by the names of our scores.
KEYS = {
    "true_positives": "tp",
    "false_positives": "fp",
    "missed_lesions": "fn",
    "lesion_dice": "lesion_dice",
    "lesion_hd95_mm": "lesion_hd95",
    "lesion_nsd_0.5mm": "lesion_nsd_0.5",
    "lesion_nsd_1.0mm": "lesion_nsd_1.0",
    "legacy_dice": "legacy_dice",
    "legacy_hd95_mm": "legacy_hd95",
    "legacy_nsd_0.5mm": "legacy_nsd_0.5",
    "legacy_nsd_1.0mm": "legacy_nsd_1.0",
    "plain_dice": "plain_dice",
    "plain_hd95_mm": "plain_hd95",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}
#: Largest difference from the programs, in mm and else.
WITHIN_MM, WITHIN = 1e-6, 1e-9


@cache
def figures(name):
    return json.loads((OFFICIAL / f"{name}.json").read_text(encoding="utf-8"))


@cache
def scored_pairs(name):
    """Protocol, seed, penalty, our scores and the official figures by region, of each pair."""
    about, protocol = figures(name)["about"], get_protocol(name)
    pairs = []
    for seed, case in figures(name)["cases"].items():
        reference, prediction, spacing_mm = official_pair(protocol, about["pairs"], seed)
        penalty_mm = protocol.penalty_mm or float(np.linalg.norm(reference.shape))
        ours = lesionwise_scores(reference, prediction, spacing_mm, protocol)
        theirs = {
            region: dict(zip(about["columns"], values, strict=True))
            for region, values in case["regions"].items()
        }
        pairs.append((seed, penalty_mm, ours, theirs))
    return pairs


def official_pair(protocol, task, seed):
    """Reference, prediction and voxel size, as the header of a file holds them."""
    reference, prediction, affine, _ = pair(task, int(seed))
    if not protocol.reads_pixdim:
        affine = affine.astype(np.float32).astype(np.float64)
    return reference, prediction, spacing_of(affine)


def agree(ours, theirs, within, penalty_mm=None):
    theirs = penalty_mm if theirs == "inf" else theirs
    return ours == theirs or abs(ours - theirs) <= within


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_that_of_the_official_program(name):
    differing = []
    for seed, penalty_mm, ours, theirs in scored_pairs(name):
        assert list(ours) == list(theirs)
        for region, figure in theirs.items():
            scores = ours[region].scores
            for score, key in KEYS.items():
                if score in scores and key in figure:
                    within = WITHIN_MM if score.endswith("hd95_mm") else WITHIN
                    if not agree(scores[score], figure[key], within, penalty_mm):
                        differing.append((seed, region, score, scores[score], figure[key]))
            volume_ml = figure["reference_volume"] / 1000
            assert scores["reference_volume_ml"] == pytest.approx(volume_ml, rel=1e-12)
    assert differing == []


@pytest.mark.parametrize("name", FIGURES)
def test_every_lesion_is_that_of_the_official_program(name):
    for _, _, ours, theirs in scored_pairs(name):
        for region, figure in theirs.items():
            lesions = [
                (of.n_predicted, of.volume_mm3, of.dice, of.hd95_mm, *of.nsd.values())
                for of in ours[region].lesions
            ]
            # The files of the programs hold nine decimals.
            assert [
                tuple("inf" if value is None else pytest.approx(value, abs=1e-6) for value in each)
                for each in lesions
            ] == [tuple(each) for each in figure["lesions"]]


@pytest.mark.parametrize("name", FIGURES)
def test_the_figures_reach_every_scenario(name):
    scenarios = {case["scenario"] for case in figures(name)["cases"].values()}

    assert len(figures(name)["cases"]) == 62
    assert len(scenarios) == 31


def cube(*corner, size=4, shape=(40, 40, 40), label=3):
    label_map = np.zeros(shape, np.uint8)
    label_map[tuple(slice(start, start + size) for start in corner)] = label
    return label_map


SPACING_MM = (1.0, 1.0, 1.0)


def test_a_false_positive_costs_as_much_as_a_missed_lesion():
    both = cube(4, 4, 4) + cube(30, 30, 30)

    false_positive = lesionwise_scores(cube(4, 4, 4), both, SPACING_MM, "brats2023-gli")["ET"]
    missed = lesionwise_scores(both, cube(4, 4, 4), SPACING_MM, "brats2023-gli")["ET"]

    for of in (false_positive, missed):
        assert of.scores["lesion_dice"] == 0.5
        assert of.scores["lesion_hd95_mm"] == 374 / 2
        assert of.scores["lesion_f1"] == 2 / 3
    assert false_positive.false_positives[0].volume_mm3 == 64
    assert [lesion.hd95_mm for lesion in missed.lesions] == [0.0, None]


def test_a_prediction_at_a_lesion_below_the_threshold_is_no_false_positive():
    reference = cube(4, 4, 4) + cube(30, 30, 30, size=3)

    found = lesionwise_scores(
        reference, cube(4, 4, 4) + cube(30, 30, 30), SPACING_MM, "brats2023-gli"
    )["ET"]

    assert [lesion.counts for lesion in found.lesions] == [True, False]
    assert found.false_positives == ()
    assert found.scores["lesion_dice"] == 1.0


def test_centres_are_voxels_of_the_whole_image():
    reference, prediction = cube(20, 21, 22, size=5), cube(5, 6, 7, size=5)

    found = lesionwise_scores(reference, prediction, SPACING_MM, "brats2025-gli")["ET"]

    assert found.lesions[0].centre == (22, 23, 24)
    assert found.false_positives[0].centre == (7, 8, 9)


def test_two_lesions_found_perfectly_have_a_sensitivity_of_one():
    """The program of 2025 has 0.333 here, as it takes the numbers of lesions for masks."""
    both = cube(4, 4, 4) + cube(30, 30, 30)

    found = lesionwise_scores(both, both, SPACING_MM, "brats2025-gli")["ET"]

    assert found.scores["sensitivity"] == 1.0
    assert found.scores["specificity"] == 1.0


def test_false_positives_of_radiotherapy_cost_nothing_but_are_listed():
    reference = cube(4, 4, 4, label=1)
    prediction = reference + cube(30, 30, 30, label=1)

    found = lesionwise_scores(reference, prediction, SPACING_MM, "brats2025-men-rt")["GTV"]

    assert found.scores["lesion_dice"] == 1.0
    assert found.scores["false_positives"] == 1
    assert found.scores["lesion_f1"] == 2 / 3


def test_the_penalty_of_metastases_in_2025_is_the_diagonal_of_the_image_in_voxels():
    reference, empty = cube(4, 4, 4), np.zeros((40, 40, 40), np.uint8)

    found = lesionwise_scores(reference, empty, (1.0, 1.0, 3.0), "brats2025-met")["ET"]

    assert found.scores["lesion_hd95_mm"] == pytest.approx(np.sqrt(3 * 40**2))


def test_until_2022_whole_regions_are_scored():
    reference, prediction = cube(4, 4, 4, label=4), cube(4, 4, 6, label=4)

    found = lesionwise_scores(reference, prediction, (1.0, 1.0, 2.0), "brats2017")

    assert found["ET"].scores == {
        "legacy_dice": 0.5,
        "legacy_hd95_mm": 4.0,
        "sensitivity": 0.5,
        "specificity": 1 - 32 / (40**3 - 64),
        "volume_ml": 0.128,
        "reference_volume_ml": 0.128,
    }
    assert found["ET"].lesions == ()
    missed = lesionwise_scores(reference, np.zeros_like(reference), SPACING_MM, "brats2017")
    assert missed["WT"].scores["legacy_hd95_mm"] == 373.13


small_maps = arrays(np.uint8, (9, 10, 8), elements=st.integers(0, 3))
#: Without the rule of touching, which treats the two sides differently.
LAWFUL = st.sampled_from(["brats2023-gli", "brats2023-met", "brats2025-men", "brats2025-ped"])


@settings(max_examples=60, deadline=None)
@given(small_maps, LAWFUL)
def test_the_reference_itself_is_a_perfect_prediction(label_map, name):
    for of in lesionwise_scores(label_map, label_map.copy(), SPACING_MM, name).values():
        assert of.scores["lesion_dice"] == of.scores["lesion_f1"] == 1
        assert of.scores["lesion_hd95_mm"] == of.scores["false_positives"] == 0
        assert of.scores.get("lesion_nsd_0.5mm", 1) == pytest.approx(1, abs=1e-8)


@settings(max_examples=60, deadline=None)
@given(small_maps, small_maps, st.tuples(*[st.integers(0, 5)] * 3), st.sampled_from(FIGURES))
def test_moving_both_label_maps_changes_nothing(reference, prediction, step, name):
    def placed(label_map, corner):
        whole = np.zeros((30, 31, 29), np.uint8)
        whole[tuple(slice(at, at + n) for at, n in zip(corner, label_map.shape, strict=True))] = (
            label_map
        )
        return whole

    first, moved = (
        lesionwise_scores(
            placed(reference, corner), placed(prediction, corner), (1.0, 0.8, 2.0), name
        )
        for corner in ((6, 6, 6), tuple(6 + s for s in step))
    )

    for region in first:
        assert first[region].scores == moved[region].scores
        for one, other in zip(first[region].lesions, moved[region].lesions, strict=True):
            assert other.centre == tuple(np.add(one.centre, step))


@settings(max_examples=40, deadline=None)
@given(small_maps, small_maps, st.sampled_from(["brats2023-gli", "brats2023-men"]))
def test_a_far_false_component_lowers_the_scores_by_the_formula(reference, prediction, name):
    before_pair, after_pair = (
        [np.pad(side, ((0, 21), (0, 0), (0, 0))) for side in (reference, prediction)]
        for _ in range(2)
    )
    after_pair[1][27:29, 2:4, 2:4] = 3

    before = lesionwise_scores(*before_pair, SPACING_MM, name)
    after = lesionwise_scores(*after_pair, SPACING_MM, name)

    for region, of in before.items():
        n = sum(lesion.counts for lesion in of.lesions) + len(of.false_positives)
        dice = n * of.scores["lesion_dice"] / (n + 1)
        hd95_mm = (n * of.scores["lesion_hd95_mm"] + 374) / (n + 1)
        assert after[region].scores["lesion_dice"] == pytest.approx(dice if n else 0, abs=1e-12)
        assert after[region].scores["lesion_hd95_mm"] == pytest.approx(hd95_mm if n else 374)
        assert after[region].lesions == of.lesions


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_is_whole(name):
    protocol = PROTOCOLS[name]
    labels = set(get_scheme(protocol.scheme).labels)

    assert protocol.name == name
    assert pickle.loads(pickle.dumps(protocol)) is protocol
    assert len({score.name for score in protocol.scores}) == len(protocol.scores)
    for rule in protocol.tissues.values():
        assert set(rule.labels) <= labels
        assert set(rule.joined_by) <= set(protocol.tissues)


def test_an_unknown_protocol_is_refused_with_the_nearest_names():
    with pytest.raises(
        ConfigError, match=r"unknown protocol 'BraTS2023-GL'; did you mean brats2023-gli"
    ):
        get_protocol("BraTS2023-GL")
    with pytest.raises(ConfigError, match="unknown protocol 'x'; use brats2017, brats2023-gli"):
        get_protocol("x")


@pytest.mark.parametrize("protocol", [None, ["brats2023-gli"], 5])
def test_what_is_no_name_of_a_protocol_is_refused_in_words(protocol):
    label_map = np.zeros((1, 1, 1), int)

    with pytest.raises(ConfigError, match=r"protocol is .*, expected one name, such as 'brats20"):
        lesionwise_scores(label_map, label_map, (1, 1, 1), protocol)


@pytest.mark.parametrize(
    ("reference", "prediction", "spacing_mm", "message"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 2), int), (1, 1), "one shape"),
        (np.zeros((2, 2, 2), int), np.zeros((2, 2, 3), int), (1, 1, 1), "one shape"),
        (np.zeros((2, 2, 2)), np.zeros((2, 2, 2), int), (1, 1, 1), "must hold integers"),
        (np.zeros((2, 2, 2), int), np.zeros((2, 2, 2), int), (1, 1), "three voxel sizes"),
        (np.zeros((2, 2, 2), int), np.zeros((2, 2, 2), int), (1, 1, 0), "three voxel sizes"),
        (np.zeros((2, 2, 2), int), np.zeros((2, 2, 2), int), None, "three voxel sizes"),
        (np.zeros((2, 2, 2), int), np.zeros((2, 2, 2), int), "1 1 1", "got '1 1 1'"),
        ([[[0]]], np.zeros((1, 1, 1), int), (1, 1, 1), "must be NumPy arrays, got list"),
        (np.zeros((1, 1, 1), int), None, (1, 1, 1), "must be NumPy arrays, got NoneType"),
    ],
)
def test_what_are_no_label_maps_is_refused(reference, prediction, spacing_mm, message):
    with pytest.raises(ValueError, match=message):
        lesionwise_scores(reference, prediction, spacing_mm, "brats2023-gli")
