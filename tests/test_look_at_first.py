"""Which results to look at first: reasons, their order, and the records of a manifest."""

from __future__ import annotations

import pytest

from volseg.confidence.predicted_dice import PredictedDice
from volseg.confidence.record import confidence_record, read_confidence
from volseg.confidence.verdict import CaseConfidence, FoundRegion, in_words, judge, look_at_first
from volseg.results.manifest import check_content

GOOD, POOR = PredictedDice(0.9, 0.8, 1.0), PredictedDice(0.4, 0.1, 0.7)


WHOLE = FoundRegion("WT", False, 0.99, 0.5)


def reasons(predicted=(), unlike=(), found=(), missing=(), share=0.1):
    return judge(dict(predicted), unlike, [WHOLE, *found], missing, share).look_at


def test_a_good_result_gives_no_reason_to_look_at_it():
    assert reasons({"WT": GOOD}, found=[FoundRegion("ET", True, 0.2, 0.5)]) == ()


def test_a_predicted_dice_below_0_7_is_a_reason_with_its_interval_the_lowest_first():
    worse = PredictedDice(0.125, 0.0, 0.5)

    assert reasons({"WT": GOOD, "TC": POOR, "ET": worse}) == (
        "predicted Dice of ET 0.12 (0.00 to 0.50)",
        "predicted Dice of TC 0.40 (0.10 to 0.70)",
    )
    assert reasons({"WT": PredictedDice(0.7, 0.1, 1.0)}) == ()


@pytest.mark.parametrize(("highest", "is_reason"), [(0.19, False), (0.2, True), (0.9, True)])
def test_a_region_without_a_voxel_is_doubtful_from_half_of_its_threshold(highest, is_reason):
    said = reasons(found=[FoundRegion("ET", True, highest, 0.4)])

    sentence = (
        f"no voxel of ET, but its probability reaches {highest:.2f}, and the threshold is 0.40"
    )
    assert said == ((sentence,) if is_reason else ())
    assert reasons(found=[FoundRegion("ET", False, highest, 0.4)]) == ()


def test_an_empty_region_near_its_threshold_is_one_reason_and_not_two():
    found = [FoundRegion("ET", True, 0.4, 0.5)]

    (reason,) = reasons({"ET": PredictedDice(0.6, 0.0, 1.0)}, found=found)

    assert reason.startswith("no voxel of ET")


def test_a_case_in_which_nothing_is_found_is_one_to_look_at_unless_it_is_a_single_slice():
    found = [FoundRegion(region, True, 0.01, 0.5) for region in ("WT", "ET")]

    assert judge({}, (), found, (), 0.0).look_at == ("no voxel of any region",)
    assert judge({}, (), found, (), 0.0, is_slice=True).look_at == ()
    assert judge({}, (), [*found, FoundRegion("TC", False, 0.6, 0.5)], (), 0.0).look_at == ()


def test_a_result_that_fills_the_brain_missing_channels_and_unlike_images_are_reasons():
    unlike = ["the spacing along S is 5 mm, but 1 mm in the training cases"]

    assert reasons(unlike=unlike, missing=("t1c", "t2w"), share=0.51) == (
        "the result fills 51% of the tissue",
        "without t1c, t2w",
        *unlike,
    )
    assert reasons(share=0.5) == ()


def test_the_lowest_predicted_dice_comes_first_and_cases_without_one_last():
    cases = {
        "unknown": CaseConfidence(look_at=("without t1c",)),
        "fine": CaseConfidence({"WT": GOOD}),
        "middling": CaseConfidence({"WT": PredictedDice(0.6, 0.4, 0.8)}, ("a",)),
        "poor": CaseConfidence({"WT": GOOD, "ET": POOR}, ("b",)),
        "also unknown": CaseConfidence(look_at=("c",)),
    }

    assert list(look_at_first(cases)) == ["poor", "middling", "unknown", "also unknown"]


def test_confidence_is_read_back_from_its_record():
    confidence = CaseConfidence({"WT": PredictedDice(2 / 3, 0.1, 0.9)}, ("a", "b"), ("b",))

    record = confidence_record(confidence)

    assert record == {
        "predicted_dice": {"WT": {"dice": 2 / 3, "low": 0.1, "high": 0.9}},
        "look_at": ["a", "b"],
        "unlike_training": ["b"],
    }
    assert read_confidence(check_content({"cases": {"x": record}})["cases"]["x"]) == confidence


def test_without_a_fit_the_record_has_no_predicted_dice_and_an_older_record_says_nothing():
    assert confidence_record(CaseConfidence()) == {"look_at": [], "unlike_training": []}
    assert read_confidence({}) == CaseConfidence()


@pytest.mark.parametrize(
    "edited",
    [
        {"predicted_dice": {"WT": {"dice": 1.5, "low": 0.1, "high": 0.9}}},
        {"predicted_dice": {"WT": {"dice": 0.5, "low": 0.1}}},
        {"predicted_dice": {"WT": 0.5}},
        {"predicted_dice": {"WT": {"dice": float("nan"), "low": 0.1, "high": 0.9}}},
        {"look_at": "everything"},
        {"unlike_training": [3]},
    ],
)
def test_an_edited_record_is_refused_by_the_reader_of_manifests(edited):
    with pytest.raises(ValueError, match=next(iter(edited))):
        check_content({"cases": {"x": edited}})


def test_words_leave_out_what_a_note_says():
    confidence = CaseConfidence({"WT": GOOD}, ("the result fills 60% of the tissue", "without t1c"))

    lines = list(in_words(confidence, ["the result fills 60% of the tissue: look at it"]))

    assert lines == ["predicted Dice: WT 0.90 (0.80 to 1.00)", "Look at it: without t1c"]
