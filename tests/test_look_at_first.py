"""Which results to look at first: reasons, their order, and the records of a manifest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from volseg.cli.look_at_first import print_look_at_first
from volseg.confidence.predicted_dice import PredictedDice
from volseg.confidence.record import confidence_record, read_confidence
from volseg.confidence.verdict import (
    CaseConfidence,
    FoundRegion,
    in_words,
    judge,
    look_at_first,
    short_lines,
)
from volseg.reporting.build import build_report
from volseg.reporting.confidence_sections import agreement_sections
from volseg.reporting.content import Table
from volseg.reporting.results import Results
from volseg.results.manifest import check_content
from volseg.tasks.infer import InferResult

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


@pytest.mark.parametrize(("highest", "is_reason"), [(0.19, False), (0.2, True), (0.39, True)])
def test_a_region_without_a_voxel_is_doubtful_from_half_of_its_threshold(highest, is_reason):
    said = reasons(found=[FoundRegion("ET", True, highest, 0.4)])

    sentence = (
        f"no voxel of ET, but its probability reaches {highest:.2f}, and the threshold is 0.40"
    )
    assert said == ((sentence,) if is_reason else ())
    assert reasons(found=[FoundRegion("ET", False, highest, 0.4)]) == ()


@pytest.mark.parametrize("highest", [0.5, 0.67])
def test_an_empty_region_above_its_threshold_is_said_with_what_removed_it(highest):
    (reason,) = reasons(found=[FoundRegion("ET", True, highest, 0.5)])

    assert reason == (
        f"no voxel of ET, but its probability reaches {highest:.2f}: voxels above the threshold of "
        "0.50 lie outside the outer region, or were removed as too small"
    )


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
        f"unlike the training images: {unlike[0]}",
        "the result fills 51% of the tissue",
        "without t1c, t2w",
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


def test_cases_unlike_the_training_images_come_before_the_lowest_predicted_dice():
    cases = {
        "poor": CaseConfidence({"WT": POOR}, ("a",)),
        "unlike, poor": CaseConfidence({"WT": POOR}, ("b",), ("b",)),
        "unlike": CaseConfidence(look_at=("b",), unlike_training=("b",)),
    }

    assert list(look_at_first(cases)) == ["unlike, poor", "unlike", "poor"]


def test_the_list_gives_the_predicted_dice_and_one_other_reason_without_its_remedy():
    found = [FoundRegion("WT", False, 0.99, 0.5)]
    unlike = ("the spacing along S is 5 mm, but 1 mm in the training cases; resample it",)
    poor = judge({"WT": POOR}, (), found, (), 0.1)
    odd = judge({"WT": GOOD}, unlike, found, ("t1c",), 0.6)

    assert list(short_lines(poor)) == ["predicted Dice WT 0.40 (0.10 to 0.70)"]
    assert list(short_lines(odd)) == [
        "predicted Dice WT 0.90 (0.80 to 1.00); says little for such images",
        "unlike the training images: the spacing along S is 5 mm, but 1 mm in the training cases "
        "(and 2 more in the manifest)",
    ]


def test_the_list_in_a_file_is_folded(capsys):
    odd = CaseConfidence(look_at=("without " + "word " * 60,))
    lone = CaseConfidence(look_at=("without t1c",))
    result = InferResult(("a", "b"), (), {}, Path("manifest.json"), has_profile=False)

    print_look_at_first(replace(result, confidence={"a": odd, "b": lone}), [Path("alone.pt")])

    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines()[:5])) <= 120
    assert "In brackets" not in printed
    assert "Not compared with the training images" in printed
    assert "(needs at least 3 patients with label maps" in printed
    assert "--data-list LIST" in printed


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


def results_of(records, scores=None):
    return Results(Path("results"), scores or {}, {"cases": records}, (Path("results"),))


def record_of(**confidence):
    return confidence_record(CaseConfidence(**confidence)) | {"volumes_ml": {"WT": 1.0}}


def test_a_report_shows_cases_to_look_at_first_with_their_reasons():
    results = results_of(
        {
            "fine": record_of(predicted_dice={"WT": GOOD}),
            "odd": record_of(look_at=("without t1c",)),
            "poor": record_of(predicted_dice={"WT": POOR}, look_at=("predicted Dice of WT 0.40",)),
        }
    )

    built = build_report(results, None)

    (table,) = built.sections[0].blocks
    assert built.sections[0].title == "Look at these first"
    assert table.columns == ("case", "predicted Dice WT", "why")
    assert [tuple(map(str, row)) for row in table.rows] == [
        ("poor", "0.40 [0.10, 0.70]", "predicted Dice of WT 0.40"),
        ("odd", "-", "without t1c"),
    ]
    assert [entry.case_id for entry in built.cases] == ["poor", "odd", "fine"]
    predicted = [block for block in built.cases[2].blocks if block == DICE_OF_FINE]
    assert len(predicted) == 1


DICE_OF_FINE = Table(
    "Predicted Dice", ("region", "predicted Dice"), [("WT", "0.90 [0.80, 1.00]")]
)  # fmt: skip


def test_a_report_says_for_how_many_patients_of_the_training_the_predicted_dice_says_little():
    record = record_of(predicted_dice={"WT": POOR}, look_at=("a",))
    results = results_of({"new": record, "known": record | {"trained_by": ["runs/unet"]}})

    _, notes = build_report(results, None).sections[0].blocks

    assert "the patients of 1 of 2 cases" in notes.sentences[0]


def test_a_report_without_such_cases_has_no_such_section():
    built = build_report(results_of({"fine": record_of(predicted_dice={"WT": GOOD})}), None)

    assert "Look at these first" not in [section.title for section in built.sections]


def test_a_report_on_scores_shows_predicted_against_true_dice():
    agreement = {"cases": 2, "mae": 0.125, "mae_interval": None, "spearman": 0.5}
    agreement["spearman_interval"] = [-0.25, 1.0]
    cases = {
        name: {"status": "scored", "regions": {"WT": {"dice": dice}}}
        for name, dice in (("fine", 1.0), ("poor", 0.25), ("edited", 0.5))
    }
    scores = {
        "cases": cases,
        "predicted_dice": {"regions": {"WT": agreement}, "edited": ["edited"]},
    }
    records = {name: record_of(predicted_dice={"WT": GOOD}) for name in cases}

    (section,) = agreement_sections(results_of(records, scores))

    chart, table, notes = section.blocks
    assert [mark.title for mark in chart.marks] == ["fine, WT", "poor, WT"]
    assert any(line.is_dashed for line in chart.lines)
    assert list(table.rows) == [("WT", "2", "0.50 [-0.25, 1.00]", "0.125", "-")]
    assert "edited" in notes.sentences[0]
    assert agreement_sections(results_of(records, {"cases": cases})) == []
