"""`volseg compare --protocol`: scores of official protocols, missing values, ranking."""

from __future__ import annotations

import csv
import json

import pytest
from score_rows import scored_row
from typer.testing import CliRunner

from volseg.cli import app
from volseg.comparison.pooling import Folds
from volseg.errors import ConfigError, DataListError
from volseg.metrics import Overlap, ScoreRow, ScoreTable
from volseg.metrics.official.protocols import get_protocol
from volseg.metrics.official.record import ProtocolRecord
from volseg.metrics.official.region_scores import RegionScores
from volseg.metrics.record import ScoreRecord
from volseg.tasks.compare import compare

GLI = get_protocol("brats2023-gli")


@pytest.fixture
def scores(tmp_path):
    """Makes a folder as `evaluate --protocol` does; values by case: (lesion Dice, lesion HD95)."""

    def make(name, values, missing=(), protocol=GLI, sizes=(1.0, 1.0)):
        official, own, found = [], [], {}
        for case, pair in values.items():
            of_case = {score.name: None for score in protocol.scores} | {
                "lesion_dice": pair[0],
                "lesion_hd95_mm": pair[1],
                "false_positives": 1,
                "volume_ml": sizes[0],
                "reference_volume_ml": sizes[1],
            }
            official.append(ScoreRow(case, "WT", of_case))
            own.append(scored_row(case, "WT", Overlap(8, 2, 2)))
            found[case, "WT"] = RegionScores(of_case)
        gone = [ScoreRow(case, "WT", status="missing") for case in missing]
        table = ScoreTable.of(official + gone, protocol.scores)
        folder = tmp_path / name
        folder.mkdir()
        record = ScoreRecord(
            ScoreTable.of(own + gone), protocols=(ProtocolRecord(protocol, table, found),)
        )
        record.write(folder, {})
        return folder

    return make


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def pairs_of(output):
    return {row["score"]: row for row in rows_of(output / "pairs.csv")}


def test_the_scores_of_the_protocol_are_compared_in_their_direction(scores, tmp_path):
    one = scores("one", {"a": (0.9, 2), "b": (0.8, 3), "c": (0.7, 9)})
    two = scores("two", {"a": (0.8, 1), "b": (0.6, 2), "c": (0.4, 5)})

    result = compare([one, two], tmp_path / "out", protocol="brats2023-gli")

    pairs = pairs_of(tmp_path / "out")
    dice, hd95 = pairs["lesion_dice"], pairs["lesion_hd95_mm"]
    assert float(dice["mean_difference"]) == pytest.approx(0.2)
    assert float(hd95["mean_difference"]) == pytest.approx(2)
    assert (dice["better"], hd95["better"]) == ("one", "two")
    # Three differences of one sign: 2 / 2^3, and one pair for each score.
    assert float(dice["p"]) == float(dice["p_holm"]) == 0.25
    assert (pairs["false_positives"]["better"], pairs["false_positives"]["p"]) == ("", "1")
    # Each is first in one of two scores.
    assert result.comparison.ranking.final == {"one": 1.5, "two": 1.5}
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert "- Scores of protocol brats2023-gli: BraTS 2023 adult glioma" in text
    assert "## Ranking by lesion-wise Dice and lesion-wise HD95" in text
    assert "| lesion-wise HD95 (mm) | 4.67<br>[" in text
    assert "volume" not in [row["score"] for row in rows_of(tmp_path / "out" / "comparison.csv")]
    head = (tmp_path / "out" / "patients.csv").read_text().splitlines()[0]
    assert head.startswith("region,patient_id,run,lesion_dice,lesion_hd95_mm,")


def test_a_missing_prediction_has_the_worst_value_of_the_protocol(scores, tmp_path):
    one = scores("one", {"a": (0.9, 2.0)}, missing=["b"])
    two = scores("two", {"a": (0.9, 2.0), "b": (0.5, 4.0)})

    result = compare([one, two], tmp_path / "out", protocol="brats2023-gli")

    pairs = pairs_of(tmp_path / "out")
    # Differences 0 and 0 - 0.5; 0 and 374 - 4.
    assert float(pairs["lesion_dice"]["mean_difference"]) == -0.25
    assert float(pairs["lesion_hd95_mm"]["mean_difference"]) == 185
    # A count has no worst value, so the missing case is not in its test.
    assert pairs["false_positives"]["n_patients"] == "1"
    assert result.comparison.ranking.cases == {"two": {"a": 1.5, "b": 1}, "one": {"a": 1.5, "b": 2}}
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert "Without scores: b (missing in one)" in text
    assert "missing as worst 0.450" in text


def test_a_score_without_a_value_is_best_if_nothing_was_there_and_found_else_worst(
    scores, tmp_path
):
    empty = scores("empty", {"a": (None, None)}, sizes=(0.0, 0.0))
    wrong = scores("wrong", {"a": (0.0, None)}, sizes=(1.0, 0.0))
    found = scores("found", {"a": (0.0, 374.0)}, sizes=(1.0, 0.0))

    result = compare([empty, wrong, found], tmp_path / "out", protocol="brats2023-gli")

    pairs = {
        (row["first"], row["second"]): float(row["mean_difference"])
        for row in rows_of(tmp_path / "out" / "pairs.csv")
        if row["score"] == "lesion_dice"
    }
    assert pairs == {("empty", "wrong"): 1, ("empty", "found"): 1, ("wrong", "found"): 0}
    # Dice ranks 1 2.5 2.5; HD95 0, none counts as 374, 374: 1 2.5 2.5.
    assert result.comparison.ranking.final == {"empty": 1, "wrong": 2.5, "found": 2.5}


def test_a_case_in_which_no_run_has_a_value_is_a_tie(scores, tmp_path):
    folders = [scores(name, {"a": (None, None), "b": (0.5, 1)}) for name in ("one", "two")]

    result = compare(folders, tmp_path / "out", protocol="brats2023-gli")

    assert result.comparison.ranking.final == {"one": 1.5, "two": 1.5}
    assert pairs_of(tmp_path / "out")["lesion_dice"]["n_patients"] == "1"


def test_folds_are_pooled_under_a_protocol(scores, tmp_path):
    parts = [scores("f0", {"a": (0.9, 2)}, missing=["c"]), scores("f1", {"b": (0.7, 4)})]
    whole = scores("whole", {"a": (0.9, 2), "b": (0.7, 4), "c": (0.5, 5)})

    result = compare([Folds("cv", tuple(parts)), whole], tmp_path / "out", protocol="brats2023-gli")

    pooled = result.comparison.runs[0]
    assert (list(pooled.cases), pooled.unscored) == (["a", "b"], {"c": "missing"})
    assert result.comparison.statistics(pooled, "WT", "lesion_dice").mean == pytest.approx(0.8)


def test_a_folder_without_the_protocol_is_refused_with_the_protocols_that_it_has(scores, tmp_path):
    folders = [scores(name, {"a": (0.9, 2)}) for name in ("one", "two")]

    with pytest.raises(
        DataListError,
        match=r"one has no scores of protocol brats2023-men, only of volseg, brats2023-gli; score",
    ):
        compare(folders, tmp_path / "out", protocol="brats2023-men")
    with pytest.raises(ConfigError, match=r"unknown protocol .*did you mean brats2023-gli"):
        compare(folders, tmp_path / "out", protocol="brats2023-glx")
    assert not (tmp_path / "out").exists()


def test_a_config_is_refused_under_a_protocol(scores, tmp_path):
    config = tmp_path / "net.yaml"
    config.write_text("labels: brats2023\ndata: {data_list: x.json}\nnetwork: {name: unet}\n")

    with pytest.raises(ConfigError, match=r"net\.yaml is a config, whose training gives no scores"):
        compare([scores("one", {"a": (1, 0)}), config], tmp_path / "out", protocol="brats2023-gli")


def test_the_command_shows_the_scores_of_the_ranking(scores, tmp_path):
    one, two = (scores(name, {"a": (0.9, 2), "b": (0.5, 1)}) for name in ("one", "two"))
    words = ["compare", one, two, "-o", tmp_path / "out", "--protocol", "brats2023-gli"]

    result = CliRunner().invoke(app, [str(word) for word in words])

    assert result.exit_code == 0, result.output
    assert "lesion-wise Dice" in result.stdout
    assert "sensitivity" not in result.stdout
    assert "Ranking by lesion-wise Dice and lesion-wise HD95" in result.stdout


def test_without_a_protocol_the_own_scores_of_such_a_folder_are_compared(scores, tmp_path):
    one, two = (scores(name, {"a": (0.1, 2)}) for name in ("one", "two"))

    result = compare([one, two], tmp_path / "out")

    comparison = result.comparison
    assert comparison.statistics(comparison.runs[0], "WT", "dice").mean == 0.8
    assert json.loads((one / "scores.json").read_text())["protocols"].keys() == {"brats2023-gli"}
