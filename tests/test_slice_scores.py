import csv
import json

import numpy as np
import pytest

from volseg.errors import OutputError
from volseg.metrics import Overlap, ScoreTable, SliceRow, SliceTable, slice_rows
from volseg.metrics.slices import SLICE_DEFINITIONS

#: Four slices of three pixels, of one region: shape (3, 1, 4).
PREDICTION = {"WT": np.array([[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=bool)[:, None]}
REFERENCE = {"WT": np.array([[0, 0, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0]], dtype=bool)[:, None]}


def test_each_slice_is_counted_by_itself_and_numbered_from_one():
    rows = slice_rows("a", PREDICTION, REFERENCE)

    assert rows == [
        SliceRow("a", "WT", 1, Overlap(tp=0, fp=0, fn=0)),
        SliceRow("a", "WT", 2, Overlap(tp=0, fp=1, fn=0)),
        SliceRow("a", "WT", 3, Overlap(tp=1, fp=0, fn=1)),
        SliceRow("a", "WT", 4, Overlap(tp=0, fp=0, fn=1)),
    ]


def known(means):
    """Those of the means that are checked by hand, whichever scores there are beside them."""
    return {name: means[name] for name in ("n", "dice", "iou", "precision", "recall")}


def test_the_three_means_by_hand_and_no_two_of_them_are_equal():
    rows = slice_rows("a", PREDICTION, REFERENCE)

    of_volume = Overlap.of(PREDICTION["WT"], REFERENCE["WT"])
    of_slices = SliceTable.of(rows).summary()["WT"]

    assert of_volume.dice == pytest.approx(2 * 1 / (2 * 1 + 1 + 2))  # 0.4
    # Slices 3 and 4 hold tumour: Dice 2/3 and 0.
    assert known(of_slices["tumour_slices"]) == {
        "n": 2,
        "dice": pytest.approx(1 / 3),
        "iou": pytest.approx(1 / 4),
        "precision": pytest.approx(1 / 2),
        "recall": pytest.approx(1 / 4),
    }
    # Slice 1 is empty on both sides and counts 1, slice 2 in the reference alone and counts 0.
    assert known(of_slices["all_slices"]) == {
        "n": 4,
        "dice": pytest.approx((1 + 0 + 2 / 3 + 0) / 4),
        "iou": pytest.approx((1 + 0 + 1 / 2 + 0) / 4),
        "precision": pytest.approx((1 + 0 + 1 + 0) / 4),
        "recall": pytest.approx((1 + 0 + 1 / 2 + 0) / 4),
    }


def test_slices_agree_with_plain_numpy_slice_by_slice():
    rng = np.random.default_rng(0)
    prediction = rng.random((2, 4, 3, 60)) < rng.random((2, 1, 1, 60)) ** 3
    reference = rng.random((2, 4, 3, 60)) < rng.random((2, 1, 1, 60)) ** 3

    named = [dict(zip(("WT", "ET"), masks, strict=True)) for masks in (prediction, reference)]
    summary = SliceTable.of(slice_rows("a", *named)).summary()

    for region, predicted, expected in zip(("WT", "ET"), prediction, reference, strict=True):
        p, r = predicted.reshape(12, 60).T, expected.reshape(12, 60).T
        shared, either = (p * r).sum(1), np.maximum(p, r).sum(1)
        with np.errstate(invalid="ignore"):
            dice = np.where(either == 0, 1, 2 * shared / (p.sum(1) + r.sum(1)))
            iou = np.where(either == 0, 1, shared / either)
        some = r.any(1)
        assert 0 < some.sum() < 60
        assert (either == 0).any()
        assert summary[region]["tumour_slices"]["n"] == some.sum()
        assert summary[region]["tumour_slices"]["dice"] == pytest.approx(dice[some].mean())
        assert summary[region]["tumour_slices"]["iou"] == pytest.approx(iou[some].mean())
        assert summary[region]["all_slices"]["n"] == 60
        assert summary[region]["all_slices"]["dice"] == pytest.approx(dice.mean())
        assert summary[region]["all_slices"]["iou"] == pytest.approx(iou.mean())


def test_the_counts_of_slices_add_up_to_the_row_of_the_patient_volume():
    rows = slice_rows("a", PREDICTION, REFERENCE)

    whole = sum((row.overlap for row in rows), start=Overlap(0, 0, 0))

    assert whole == Overlap.of(PREDICTION["WT"], REFERENCE["WT"])


def test_slices_of_all_cases_are_pooled_so_that_a_large_case_weighs_more():
    rows = [
        SliceRow("a", "WT", 1, Overlap(1, 0, 0)),
        *(SliceRow("b", "WT", number, Overlap(0, 0, 1)) for number in (1, 2, 3)),
    ]

    summary = SliceTable.of(rows).summary()["WT"]

    assert summary["tumour_slices"]["dice"] == pytest.approx(1 / 4)


def test_the_interval_of_a_mean_over_slices_draws_patients_with_all_their_slices():
    counts = {
        "a": [(1, 0, 0)],
        "b": [(0, 0, 1), (0, 0, 0), (1, 0, 1)],
        "c": [(3, 1, 0)],
        "d": [(1, 2, 3)],
    }
    rows = [
        SliceRow(case, "WT", number, Overlap(*of))
        for case, slices in counts.items()
        for number, of in enumerate(slices, start=1)
    ]

    found = SliceTable.of(rows).intervals({"a": "x", "b": "y", "c": "x", "d": "d"})["WT"]
    alone = SliceTable.of(rows[:4]).intervals({})["WT"]

    # Dice of the slices of x: 1, 6/7; of y: 0, 1 (empty on both sides), 2/3; of d: 2/7.
    drawn = np.random.RandomState(0).randint(0, 3, (9999, 3))
    for kind, sums, sizes in (
        ("all_slices", [13 / 7, 5 / 3, 2 / 7], [2, 3, 1]),
        ("tumour_slices", [13 / 7, 2 / 3, 2 / 7], [2, 2, 1]),
    ):
        means = np.array(sums)[drawn].sum(1) / np.array(sizes)[drawn].sum(1)
        assert found[kind]["dice"] == pytest.approx(np.percentile(means, [2.5, 97.5]).tolist())
    assert alone["all_slices"]["dice"] is None


def test_without_a_slice_with_tumour_there_is_no_mean_over_such():
    empty = {"WT": np.zeros((2, 2, 3), dtype=bool)}

    summary = SliceTable.of(slice_rows("a", empty, empty)).summary()["WT"]

    assert known(summary["tumour_slices"]) == {
        "n": 0, "dice": None, "iou": None, "precision": None, "recall": None,
    }  # fmt: skip
    assert known(summary["all_slices"]) == {
        "n": 3,
        "dice": 1,
        "iou": 1,
        "precision": 1,
        "recall": 1,
    }


def test_a_slice_that_two_processes_scored_counts_once_and_cases_come_in_order():
    rows = slice_rows("b", PREDICTION, REFERENCE)
    others = slice_rows("a", PREDICTION, REFERENCE)

    table = SliceTable.of([*rows, *others, *rows])

    assert [(row.case_id, row.slice) for row in table.rows] == [
        (case_id, number) for case_id in "ab" for number in (1, 2, 3, 4)
    ]


def test_the_csv_has_a_line_for_each_slice(tmp_path):
    table = SliceTable.of(slice_rows("a", PREDICTION, REFERENCE))

    table.to_csv(tmp_path / "slices.csv")

    with (tmp_path / "slices.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0][:7] == ["case_id", "region", "slice", "dice", "iou", "precision", "recall"]
    assert lines[0][-3:] == ["tp", "fp", "fn"]
    assert lines[3][:7] == ["a", "WT", "3", "0.66667", "0.5", "1.0", "0.5"]
    assert lines[3][-3:] == ["1", "0", "1"]
    assert len(lines) == 5


def test_an_unwritable_place_of_slices_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"slices\.csv"):
        SliceTable().to_csv(tmp_path / "absent" / "slices.csv")


def test_what_is_written_of_slices_says_what_each_mean_is():
    document = SliceTable.of(slice_rows("a", PREDICTION, REFERENCE)).to_dict()

    assert set(document["slices"]["WT"]) <= set(SLICE_DEFINITIONS)
    assert document["slice_definitions"] == dict(SLICE_DEFINITIONS)
    assert "score of the patient volume" in SLICE_DEFINITIONS["summary"]
    # The score of the volume bears this key in the document of a `ScoreTable`.
    assert "summary" in ScoreTable().to_dict()
    json.dumps(document, allow_nan=False)


@pytest.mark.parametrize(
    ("shape", "other", "region", "message"),
    [
        ((2, 2), (2, 2), "WT", r"shape \(I, J, K\), got \(2, 2\)"),
        ((2, 2, 1), (2, 2, 2), "WT", "one shape"),
        ((2, 2, 1), (2, 2, 1), "ET", r"same regions, got \['WT'\] and \['ET'\]"),
    ],
)
def test_masks_that_have_no_slices_to_compare_are_refused(shape, other, region, message):
    with pytest.raises(ValueError, match=message):
        slice_rows("a", {"WT": np.zeros(shape, bool)}, {region: np.zeros(other, bool)})
