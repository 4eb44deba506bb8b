import csv
import json
import pickle
import re

import numpy as np
import pytest
from score_rows import scored_row

from volseg.cli.score_tables import print_statistics
from volseg.errors import OutputError
from volseg.metrics import EMPTY_MASK_POLICY, Overlap, RegionPair, ScoreRow, ScoreTable, get_score

#: Dice 1, 0.5 and 0; the last two have an empty reference or prediction.
ROWS = (
    scored_row("a", "ET", Overlap(tp=4, fp=0, fn=0), voxel_ml=0.5, hd95_mm=0.0),
    scored_row("b", "ET", Overlap(tp=1, fp=1, fn=1), voxel_ml=0.5, hd95_mm=3.0),
    scored_row("c", "ET", Overlap(tp=0, fp=2, fn=0), voxel_ml=0.5, hd95_mm=373.13),
)


def test_a_row_holds_the_scores_and_volumes_of_its_counts():
    row = scored_row("a", "WT", Overlap(tp=2, fp=2, fn=1), voxel_ml=0.001, hd95_mm=1.5)

    assert row.case_id == "a"
    assert row.region == "WT"
    assert row["dice"] == pytest.approx(4 / 7)
    assert row["iou"] == pytest.approx(2 / 5)
    assert row["precision"] == pytest.approx(2 / 4)
    assert row["recall"] == pytest.approx(2 / 3)
    assert row["hd95_mm"] == 1.5
    assert row["volume_ml"] == pytest.approx(0.004)
    assert row["reference_volume_ml"] == pytest.approx(0.003)
    assert (row["prediction_voxels"], row["reference_voxels"]) == (4, 3)
    assert row.status == "scored"


def test_where_the_size_of_a_voxel_is_not_known_there_are_no_mm_and_no_ml():
    masks = (np.ones(4, bool), np.array([True, True, False, False]))
    row = ScoreRow.of("a", "WT", RegionPair(Overlap(tp=2, fp=2, fn=1), masks=masks))

    assert (row["hd95_mm"], row["volume_ml"], row["reference_volume_ml"]) == (None, None, None)
    assert (row["prediction_voxels"], row["reference_voxels"]) == (4, 3)
    assert row["dice"] == pytest.approx(4 / 7)


def test_cases_without_a_size_of_a_voxel_are_in_every_mean_but_those_of_mm_and_ml():
    unsized = [
        scored_row("d", "ET", Overlap(tp=0, fp=0, fn=3), None),
        scored_row("e", "ET", Overlap(tp=0, fp=0, fn=0), None),
        ScoreRow("x", "ET", status="missing"),
    ]

    alone = ScoreTable.of(unsized).summary()["ET"]
    mixed = ScoreTable.of([*ROWS, *unsized]).summary()["ET"]

    assert (alone["n_empty_reference"], alone["n_empty_prediction"]) == (1, 2)
    assert alone["dice"]["mean"] == pytest.approx(0.5)
    assert alone["dice"]["mean_missing_as_worst"] == pytest.approx(1 / 3)
    assert set(alone["hd95_mm"].values()) == {None}
    assert set(alone["volume_ml"].values()) == {None}
    assert alone["reference_voxels"]["mean"] == pytest.approx(1.5)
    assert mixed["n_cases"] == 5
    assert mixed["hd95_mm"]["mean"] == pytest.approx((0 + 3 + 373.13) / 3)
    assert mixed["volume_ml"]["mean"] == pytest.approx((2 + 1 + 1) / 3)


def test_the_summary_of_three_cases_by_hand():
    summary = ScoreTable.of(ROWS).summary()["ET"]

    assert summary["n_cases"] == 3
    assert summary["dice"]["mean"] == pytest.approx(0.5)
    assert summary["dice"]["median"] == pytest.approx(0.5)
    assert summary["dice"]["std"] == pytest.approx(0.5)  # sqrt((0.25 + 0 + 0.25) / (3 - 1))
    assert summary["hd95_mm"]["mean"] == pytest.approx((0 + 3 + 373.13) / 3)
    assert summary["hd95_mm"]["median"] == 3.0
    assert summary["volume_ml"]["mean"] == pytest.approx((2 + 1 + 1) / 3)
    assert summary["reference_volume_ml"]["mean"] == pytest.approx((2 + 1 + 0) / 3)


def test_empty_references_and_predictions_are_counted():
    rows = [
        *ROWS,
        scored_row("d", "ET", Overlap(tp=0, fp=0, fn=3), voxel_ml=1.0),
        scored_row("e", "ET", Overlap(tp=0, fp=0, fn=0), voxel_ml=1.0),
    ]

    summary = ScoreTable.of(rows).summary()["ET"]

    assert summary["n_empty_reference"] == 2
    assert summary["n_empty_prediction"] == 2


def test_missing_and_failed_cases_stay_in_sight_and_out_of_the_mean():
    unscored = [ScoreRow("x", "ET", status="missing"), ScoreRow("y", "ET", status="failed")]

    table = ScoreTable.of([*ROWS, *unscored])

    summary = table.summary()["ET"]
    assert (summary["n_cases"], summary["n_missing"], summary["n_failed"]) == (3, 1, 1)
    assert summary["dice"]["mean"] == pytest.approx(0.5)
    assert summary["dice"]["mean_missing_as_worst"] == pytest.approx(1.5 / 5)
    worst = summary["hd95_mm"]["mean_missing_as_worst"]
    assert worst == pytest.approx((0 + 3 + 3 * 373.13) / 5)
    assert table.cases("missing") == ("x",)
    assert table.cases("failed") == ("y",)
    assert table.cases("scored") == ("a", "b", "c")


def test_without_a_missing_case_both_means_are_equal():
    dice = ScoreTable.of(ROWS).summary()["ET"]["dice"]

    assert dice["mean_missing_as_worst"] == dice["mean"]


def test_one_case_has_no_deviation_and_none_has_no_mean():
    one = ScoreTable.of(ROWS[:1]).summary()["ET"]["dice"]
    none = ScoreTable.of([ScoreRow("x", "ET", status="missing")]).summary()["ET"]["dice"]

    assert (one["mean"], one["std"]) == (1.0, None)
    assert (none["mean"], none["median"], none["mean_missing_as_worst"]) == (None, None, 0.0)


def test_the_interval_of_three_patients_spans_their_means():
    rows = [
        ScoreRow(case_id, "ET", {"dice": dice})
        for case_id, dice in (("a", 0.0), ("b", 0.3), ("c", 0.6), ("c2", 0.9))
    ]

    four = ScoreTable.of(rows).summary()["ET"]["dice"]
    three = ScoreTable.of(rows, patients={"c2": "c"}).summary()["ET"]["dice"]
    two = ScoreTable.of(rows[2:]).summary()["ET"]["dice"]

    assert four["mean"] == three["mean"] == pytest.approx(0.45)
    # 1 of 27 resamples is of patient a alone, and 1 of c alone, whose mean is 0.75.
    assert three["interval"] == pytest.approx([0.0, 0.75])
    # Of 256 resamples of four patients, 1 has the sum 0, 4 have 0.3 and 10 have 0.6.
    assert four["interval"] == pytest.approx([0.6 / 4, 3 / 4])
    assert two["interval"] is None


def test_validation_scores_overlap_alone():
    rows = [scored_row("a", region, Overlap(1, 1, 0), voxel_ml=1.0) for region in ("WT", "ET")]

    table = ScoreTable.of(rows)

    assert table.means("dice") == {"WT": pytest.approx(2 / 3), "ET": pytest.approx(2 / 3)}
    assert table.summary()["WT"]["hd95_mm"] == dict.fromkeys(
        ("mean", "median", "std", "interval", "mean_missing_as_worst")
    )


def test_a_case_that_two_processes_scored_counts_once():
    first, second = ROWS, pickle.loads(pickle.dumps(ROWS[:1]))

    table = ScoreTable.of([*first, *second])

    assert table.summary()["ET"]["n_cases"] == 3


def test_rows_come_in_the_order_of_cases_and_regions_as_given():
    rows = [ScoreRow(case, region) for case in ("b", "a") for region in ("WT", "ET")]

    table = ScoreTable.of(rows)

    assert [(row.case_id, row.region) for row in table.rows] == [
        ("a", "WT"), ("a", "ET"), ("b", "WT"), ("b", "ET"),
    ]  # fmt: skip
    assert table.regions == ("WT", "ET")


def test_the_csv_has_a_line_for_each_case_and_region(tmp_path):
    table = ScoreTable.of([*ROWS, ScoreRow("x", "ET", status="missing")])

    table.to_csv(tmp_path / "scores.csv")

    with (tmp_path / "scores.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    assert header[:11] == [
        "case_id", "region", "dice", "iou", "precision", "recall", "hd95_mm", "volume_ml",
        "reference_volume_ml", "prediction_voxels", "reference_voxels",
    ]  # fmt: skip
    assert header[-1] == "status"
    assert lines[1][:11] == [
        "b", "ET", "0.5", "0.33333", "0.5", "0.5", "3.0", "1.0", "1.0", "2", "2",
    ]  # fmt: skip
    assert [line[-1] for line in lines] == ["scored", "scored", "scored", "missing"]
    assert lines[3] == ["x", "ET", *[""] * (len(header) - 3), "missing"]


def test_the_json_explains_itself(tmp_path):
    table = ScoreTable.of([*ROWS, ScoreRow("x", "ET", status="missing")])

    table.to_json(tmp_path / "scores.json", {"predictions": "results"})

    document = json.loads((tmp_path / "scores.json").read_text())
    assert document["predictions"] == "results"
    assert document["empty_mask_policy"] == EMPTY_MASK_POLICY
    assert document["missing"] == ["x"]
    assert document["summary"]["ET"] == table.summary()["ET"]
    assert document["cases"]["b"]["regions"]["ET"]["hd95_mm"] == 3.0
    assert document["cases"]["x"]["status"] == "missing"
    assert document["versions"]["numpy"] == np.__version__
    assert {"dice", "hd95_mm", "std", "n_cases"} <= set(document["definitions"])


def test_every_score_and_count_of_the_summary_is_defined():
    table = ScoreTable.of([*ROWS, scored_row("d", "ET", Overlap(tp=0, fp=0, fn=3), None)]).to_dict()

    defined = {name for names in table["definitions"] for name in names.split(", ")}
    used = set(table["summary"]["ET"]) | set(table["summary"]["ET"]["dice"])
    used |= set(table["summary"]["ET"]["volume_ml"])
    assert used == defined


def test_files_are_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "scores.json").write_text("before")
    table = ScoreTable.of([ScoreRow("a", "ET", {"dice": float("nan")})])

    with pytest.raises(ValueError, match="not JSON compliant"):
        table.to_json(tmp_path / "scores.json")

    assert (tmp_path / "scores.json").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]


def test_an_unwritable_place_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"scores\.csv"):
        ScoreTable.of(ROWS).to_csv(tmp_path / "absent" / "scores.csv")


def test_the_number_behind_a_mean_is_given_where_some_cases_have_no_value(capsys):
    rows = [*ROWS, scored_row("d", "ET", Overlap(tp=0, fp=0, fn=3), None)]

    summary = ScoreTable.of(rows).summary()
    print_statistics("T", summary, (get_score("dice"), get_score("hd95_mm")), with_missing=False)

    assert (summary["ET"]["hd95_mm"]["n"], "n" in summary["ET"]["dice"]) == (3, False)
    (counted,) = [line for line in capsys.readouterr().out.splitlines() if "in the mean" in line]
    assert re.findall(r"\d+", counted) == ["4", "3"]


def test_an_interval_of_too_few_patients_has_the_reason(capsys):
    print_statistics(
        "T", ScoreTable.of(ROWS[:2]).summary(), (get_score("dice"),), with_missing=False
    )
    print_statistics("T", ScoreTable.of(ROWS).summary(), (get_score("dice"),), with_missing=False)

    first, second = [s for s in capsys.readouterr().out.splitlines() if "95 % interval" in s]
    assert "(fewer than 3 patients)" in first
    assert "fewer" not in second


def test_regions_are_printed_from_the_whole_tumour_inwards(capsys):
    rows = [scored_row("a", region, Overlap(tp=4, fp=0, fn=0)) for region in ("ET", "TC", "WT")]

    print_statistics("T", ScoreTable.of(rows).summary(), (get_score("dice"),), with_missing=False)

    printed = capsys.readouterr().out
    assert sorted(("ET", "TC", "WT"), key=printed.index) == ["WT", "TC", "ET"]
