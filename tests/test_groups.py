import csv
import json

import pytest
from score_rows import scored_row

from volseg.errors import OutputError
from volseg.metrics import GroupTable, Overlap, ScoreRecord, ScoreRow, ScoreTable, SliceTable
from volseg.metrics.slices import SliceRow

#: Dice 1, 2/3, 0 and none; IoU 1, 1/2, 0 and none.
TABLE = ScoreTable.of(
    [
        scored_row("a", "WT", Overlap(tp=2, fp=0, fn=0), None),
        scored_row("b", "WT", Overlap(tp=1, fp=1, fn=0), None),
        scored_row("c", "WT", Overlap(tp=0, fp=1, fn=1), None),
        ScoreRow("d", "WT", status="missing"),
    ]
)
GROUPS = {
    "a": {"institution": "CS", "grade": "10"},
    "b": {"institution": "CS", "grade": "9"},
    "c": {"institution": "DU", "grade": "9"},
    "d": {"institution": "DU"},
}


def rows_of(table, column):
    return {row.value: row for row in table.rows if row.column == column}


def test_scores_of_each_group_by_hand():
    rows = rows_of(GroupTable.of(TABLE, GROUPS), "institution")

    cs, du = rows["CS"], rows["DU"]
    assert (cs.region, cs.n, cs.n_unscored) == ("WT", 2, 0)
    assert cs.mean["dice"] == pytest.approx((1 + 2 / 3) / 2)
    assert cs.mean["iou"] == pytest.approx((1 + 1 / 2) / 2)
    assert cs.mean["precision"] == pytest.approx((1 + 1 / 2) / 2)
    assert cs.mean["recall"] == 1.0
    assert (du.n, du.n_unscored) == (1, 1)
    assert du.mean == du.median
    assert [du.mean[name] for name in ("dice", "iou", "precision", "recall")] == [0, 0, 0, 0]


def test_the_median_is_not_the_mean():
    everyone = {case_id: {"study": "one"} for case_id in "abcd"}

    (row,) = GroupTable.of(TABLE, everyone).rows

    assert row.median["dice"] == pytest.approx(2 / 3)
    assert row.mean["dice"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_the_mean_of_a_group_has_the_interval_of_its_patients():
    everyone = {case_id: {"study": "one"} for case_id in "abcd"}

    (row,) = GroupTable.of(TABLE, everyone).rows

    # Dice 1, 2/3 and 0: each is the mean of 1 of 27 resamples.
    assert row.interval["dice"] == pytest.approx([0, 1])
    assert GroupTable.of(TABLE, GROUPS).rows[0].interval["dice"] is None


def test_numbers_stand_by_size_and_what_is_not_known_is_a_group_at_the_end():
    rows = rows_of(GroupTable.of(TABLE, GROUPS), "grade")

    assert list(rows) == ["9", "10", "not known"]
    assert (rows["not known"].n, rows["not known"].n_unscored) == (0, 1)
    assert set(rows["not known"].mean.values()) == {None}


def test_missing_channels_are_one_more_column():
    missing = {"b": ("t1n", "t1c"), "c": ("t1c",)}

    rows = rows_of(GroupTable.of(TABLE, {}, missing), "missing channels")

    assert [(value, row.n) for value, row in rows.items()] == [
        ("none", 1), ("t1c", 1), ("t1n t1c", 1), ("not known", 0),
    ]  # fmt: skip
    assert rows["t1n t1c"].mean["dice"] == pytest.approx(2 / 3)
    # d has no prediction, so nobody knows what it lacks.
    assert (rows["none"].n_unscored, rows["not known"].n_unscored) == (0, 1)


def test_where_no_case_lacks_a_channel_or_is_in_a_group_there_is_no_table():
    assert GroupTable.of(TABLE, {"a": {}}, {"a": ()}).rows == ()
    # Other folds of a data list have groups of their own.
    assert GroupTable.of(TABLE, {"z": {"institution": "FG"}}, {"z": ("t1c",)}).rows == ()


def test_a_group_has_a_row_for_each_region_that_its_cases_have():
    rows = [
        scored_row(case_id, region, Overlap(1, 0, 0), None)
        for case_id, region in (("a", "WT"), ("a", "ET"), ("b", "WT"))
    ]
    groups = {"a": {"site": "x"}, "b": {"site": "y"}}

    table = GroupTable.of(ScoreTable.of(rows), groups)

    assert [(row.value, row.region) for row in table.rows] == [
        ("x", "WT"), ("x", "ET"), ("y", "WT"),
    ]  # fmt: skip


def test_the_csv_has_a_line_for_each_group(tmp_path):
    GroupTable.of(TABLE, GROUPS).to_csv(tmp_path / "groups.csv")

    with (tmp_path / "groups.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["column"], line["value"], line["n"], line["n_unscored"]) for line in lines] == [
        ("institution", "CS", "2", "0"),
        ("institution", "DU", "1", "1"),
        ("grade", "9", "2", "0"),
        ("grade", "10", "1", "0"),
        ("grade", "not known", "0", "1"),
    ]
    assert lines[0]["mean_dice"] == "0.83333"
    assert lines[0]["median_recall"] == "1.0"
    assert lines[4]["mean_dice"] == ""


def test_an_unwritable_place_of_groups_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"groups\.csv"):
        GroupTable().to_csv(tmp_path / "absent" / "groups.csv")


# The files that fit and evaluate write


def test_a_record_keeps_cases_slices_groups_and_what_is_known_of_the_cases(tmp_path):
    slices = SliceTable.of([SliceRow("a", "WT", 1, Overlap(2, 0, 0))])
    record = ScoreRecord(TABLE, slices, GROUPS, {"b": ("t1c",), "c": ()})

    record.write(tmp_path, {"network": "segnet", "epoch": 3})

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "groups.csv", "scores.csv", "scores.json", "slices.csv",
    ]  # fmt: skip
    document = json.loads((tmp_path / "scores.json").read_text())
    assert (document["network"], document["epoch"]) == ("segnet", 3)
    assert document["summary"] == TABLE.summary()
    assert document["slices"] == slices.summary()
    assert "tumour_slices" in document["slice_definitions"]
    assert document["groups"] == GROUPS
    assert document["missing_channels"] == {"b": ["t1c"]}
    scores = document["group_scores"]
    assert list(scores) == ["institution", "grade", "missing channels"]
    assert scores["institution"]["DU"]["WT"]["n_unscored"] == 1
    assert scores["missing channels"]["t1c"]["WT"]["dice"] == {
        "mean": pytest.approx(2 / 3), "median": pytest.approx(2 / 3), "interval": None,
    }  # fmt: skip


def test_files_of_an_earlier_record_do_not_stay_beside_one_without_slices_and_groups(tmp_path):
    slices = SliceTable.of([SliceRow("a", "WT", 1, Overlap(2, 0, 0))])
    ScoreRecord(TABLE, slices, GROUPS).write(tmp_path, {})

    ScoreRecord(TABLE).write(tmp_path, {})

    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.csv", "scores.json"]
    document = json.loads((tmp_path / "scores.json").read_text())
    assert document.keys().isdisjoint({"slices", "groups", "missing_channels", "group_scores"})
