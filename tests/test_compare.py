"""`volseg compare`: runs on common patients, files, configs that are trained first."""

from __future__ import annotations

import csv
import json
import re
import signal
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from score_rows import scored_row
from typer.testing import CliRunner

import volseg.tasks.compare as task
from volseg.cases.data_list import DataList, write_data_list
from volseg.cases.volume_case import VolumeCase
from volseg.cli import app
from volseg.comparison.cost import count_multiply_adds, machine_in_words, measure_costs
from volseg.comparison.figure import RUN_COLOURS, comparison_figure
from volseg.comparison.pooling import Folds, read_folds
from volseg.comparison.scored_run import read_run
from volseg.comparison.side_by_side import line_up
from volseg.comparison.sources import plan_sources
from volseg.config import ExperimentConfig, load_config
from volseg.errors import (
    CheckpointError,
    ConfigError,
    DataListError,
    ModelError,
    OutputError,
    VolsegError,
)
from volseg.figures.figure_files import figure_array
from volseg.metrics import COUNTED_SCORES, Overlap, ScoreRow, ScoreTable
from volseg.model_file import Model, load_model, save_model
from volseg.networks import build_network
from volseg.tasks.compare import CompareResult, compare
from volseg.tasks.fit import FitResult, fit
from volseg.training.epoch_log import EpochLog

FIVE = {"a": 9, "b": 8, "c": 7, "d": 6, "e": 5}


def config_of(sides, network="unet", **loss):
    data = {"data_list": "list.json", "patch_size": [16] * sides}
    labels = "brats2023"
    if sides == 2:
        data["channels"] = ["t1n", "t2f", "t1c"]
        labels = "lgg"
    small = {"name": network, "widths": [4, 8]}
    return ExperimentConfig.from_dict(
        {"labels": labels, "data": data, "network": small, "loss": loss}
    )


def overlap(tenths):
    """Dice, precision and recall of so many tenths; IoU t / (20 - t)."""
    return Overlap(tp=tenths, fp=10 - tenths, fn=10 - tenths)


def write_scores(folder, tenths, regions=("WT",), unscored=None, **about):
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        scored_row(case, region, overlap(value), 0.001)
        for case, value in tenths.items()
        for region in regions
    ]
    rows += [
        ScoreRow(case, region, status=status)
        for case, status in (unscored or {}).items()
        for region in regions
    ]
    ScoreTable.of(rows).to_json(folder / "scores.json", about)
    return folder


def write_model(folder, config):
    network = build_network(
        config.network,
        len(config.data.channels),
        len(config.labels.regions),
        config.data.patch_size,
    )
    save_model(folder / "model.safetensors", network.state_dict(), config, {})
    return network


@pytest.fixture
def run(tmp_path):
    """Makes a run folder with scores, and with a model where a config is given."""

    def make(name, tenths, config=None, **options):
        folder = write_scores(tmp_path / "runs" / name, tenths, **options)
        if config:
            write_model(folder, config)
        return folder

    return make


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch):
    measure = task.measure_costs
    monkeypatch.setattr(task, "measure_costs", lambda models: measure(models, rounds=2))


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def lines_of(result):
    return (result.output / "comparison.md").read_text(encoding="utf-8")


# What is compared


def test_the_table_holds_mean_median_and_interval_of_each_score(run, tmp_path):
    first, second = run("one", FIVE), run("two", dict.fromkeys("abcde", 4))

    result = compare([first, second], tmp_path / "out")

    rows = {(r["run"], r["score"]): r for r in rows_of(result.output / "comparison.csv")}
    assert len(rows) == 2 * len(COUNTED_SCORES)
    dice, iou = rows["one", "dice"], rows["one", "iou"]
    assert (dice["n"], float(dice["mean"]), float(dice["median"])) == ("5", 0.7, 0.7)
    assert 0.5 < float(dice["low"]) < 0.7 < float(dice["high"]) < 0.9
    # 9 of 11 voxels, 8 of 12, 7 of 13, 6 of 14, 5 of 15.
    assert float(iou["mean"]) == pytest.approx(
        (9 / 11 + 8 / 12 + 7 / 13 + 6 / 14 + 5 / 15) / 5, abs=1e-5
    )
    assert (rows["two", "recall"]["low"], rows["two", "recall"]["high"]) == ("0.4", "0.4")
    assert "0.700<br>[0." in lines_of(result)


def test_pairs_are_tested_and_few_patients_are_said_to_prove_little(run, tmp_path):
    folders = [run("one", FIVE), run("two", dict.fromkeys("abcde", 4)), run("three", FIVE)]

    result = compare(folders, tmp_path / "out")

    pairs = rows_of(result.output / "pairs.csv")
    assert [(p["first"], p["second"]) for p in pairs] == [
        ("one", "two"),
        ("one", "three"),
        ("two", "three"),
    ]
    assert [float(p["p"]) for p in pairs] == pytest.approx([0.0625, 1, 0.0625])
    assert [float(p["p_holm"]) for p in pairs] == pytest.approx([0.1875, 1, 0.1875])
    assert float(pairs[0]["mean_difference"]) == pytest.approx(0.3)
    assert "5 patients: p cannot fall below 0.0625." in lines_of(result)


def test_six_patients_need_no_such_warning(run, tmp_path):
    tenths = {**FIVE, "f": 5}

    result = compare([run("one", tenths), run("two", tenths)], tmp_path / "out")

    assert "cannot fall below" not in lines_of(result)


def test_only_common_cases_count_and_the_others_are_named(run, tmp_path):
    first = run("one", {"a": 9, "b": 8, "c": 1}, unscored={"d": "failed"})
    second = run("two", {"a": 5, "b": 5, "d": 5}, losses={"a": 0.25, "b": 0.75, "d": 9.0})

    result = compare([first, second], tmp_path / "out")

    assert result.comparison.patients == ("a", "b")
    text = lines_of(result)
    assert "Left out: c (not in two)." in text
    assert "Without scores: d (failed in one); not in the means and medians of scored cases" in text
    rows = {(r["run"], r["score"]): r for r in rows_of(result.output / "comparison.csv")}
    assert float(rows["one", "dice"]["mean"]) == pytest.approx(0.85)
    # The loss is over the same two cases; one run has none.
    assert float(rows["two", "loss"]["mean"]) == 0.5
    assert ("one", "loss") not in rows
    # Two patients have no interval.
    assert rows["one", "dice"]["low"] == ""


def test_a_missing_prediction_counts_as_worst_in_pairs_second_mean_and_ranking(run, tmp_path):
    first = run("one", {"a": 9, "b": 8}, unscored={"d": "missing"})
    second = run("two", {"a": 5, "b": 5, "d": 5})

    result = compare([first, second], tmp_path / "out")

    (pair,) = rows_of(result.output / "pairs.csv")
    # Differences 0.4, 0.3, -0.5.
    assert (pair["n_patients"], pair["score"]) == ("3", "dice")
    assert float(pair["mean_difference"]) == pytest.approx(0.2 / 3)
    rows = {(r["run"], r["score"]): r for r in rows_of(result.output / "comparison.csv")}
    dice = rows["one", "dice"]
    assert (dice["n"], float(dice["mean"])) == ("2", 0.85)
    assert float(dice["mean_missing_as_worst"]) == pytest.approx(1.7 / 3, abs=1e-5)
    assert "<br>missing as worst 0.567 |" in lines_of(result)
    ranks = {(r["case_id"], r["run"]): r for r in rows_of(result.output / "case_ranks.csv")}
    assert (ranks["d", "one"]["rank"], ranks["d", "one"]["status"]) == ("2", "missing")
    assert (ranks["d", "two"]["rank"], ranks["d", "two"]["status"]) == ("1", "scored")


def test_a_case_that_is_missing_in_all_runs_still_counts(run):
    runs = [run(name, FIVE, unscored={"d2": "missing"}) for name in ("one", "two")]

    comparison = line_up([read_run(folder, folder.name) for folder in runs])

    worst = comparison.by_patient(comparison.runs[0], "WT", "dice", all_cases=True)
    assert worst["d2"] == 0
    assert comparison.ranking.cases["one"]["d2"] == 1.5


def test_the_ranking_is_in_report_and_files(run, tmp_path):
    folders = [
        run("low", dict.fromkeys("abc", 4)),
        run("high", {"a": 9, "b": 8, "c": 7}),
        run("middle", {"a": 9, "b": 5, "c": 5}),
    ]

    result = compare(folders, tmp_path / "out")

    # Ranks of high 1.5 1 1, of middle 1.5 2 2, of low 3 3 3.
    assert [
        (r["place"], r["run"], float(r["final_rank"]), r["n_cases"], r["n_unscored"])
        for r in rows_of(result.output / "ranking.csv")
    ] == [
        ("1", "high", pytest.approx(3.5 / 3), "3", "0"),
        ("2", "middle", pytest.approx(5.5 / 3), "3", "0"),
        ("3", "low", 3, "3", "0"),
    ]
    pairs = {(r["ahead"], r["behind"]): r for r in rows_of(result.output / "ranking_pairs.csv")}
    # Differences 0, 1, 1: of eight signs, the two of the 0.
    assert float(pairs["high", "middle"]["p"]) == 0.25
    assert float(pairs["high", "low"]["p"]) == 0.125
    text = lines_of(result)
    assert "## Ranking by Dice" in text
    assert "| 1 | high | 1.167 | 0.25 | 0.125 |" in text
    assert "| 3 | low | 3.000 |  |  |" in text
    assert "arXiv:1811.02629" in text


def test_hd95_takes_part_where_every_case_has_it(run, tmp_path):
    first, second = run("one", FIVE), run("two", FIVE)
    for folder, distance in ((first, 3.0), (second, 2.0)):
        scores = json.loads((folder / "scores.json").read_text())
        for case in scores["cases"].values():
            case["regions"]["WT"]["hd95_mm"] = distance
        (folder / "scores.json").write_text(json.dumps(scores))

    result = compare([first, second], tmp_path / "out")

    assert "## Ranking by Dice and HD95" in lines_of(result)
    # Equal Dice, smaller distance: ranks 1.5 and 1.
    assert result.comparison.ranking.final == {"two": 1.25, "one": 1.75}
    validation = compare([run("three", FIVE), second], tmp_path / "b")
    assert "Not compared: hd95_mm of two, missing in another run." in lines_of(validation)


def test_no_common_case_and_no_common_region_are_errors_with_a_remedy(run, tmp_path):
    first = run("one", {"a": 9, "x": 1, "y": 1, "z": 1})

    with pytest.raises(DataListError, match=r"no case in common: one has a, x, y, \.\.\. \(4\), "):
        compare([first, run("two", {"b": 9})], tmp_path / "out")
    with pytest.raises(DataListError, match=r"one has WT, three has TC; compare runs that"):
        compare([first, run("three", {"a": 9}, regions=["TC"])], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_case_without_one_of_the_regions_is_left_out(run):
    first, second = run("one", {"a": 9, "b": 8}), run("two", {"a": 9, "b": 8})
    scores = json.loads((first / "scores.json").read_text())
    scores["cases"]["b"]["regions"]["WT"] = {score.name: None for score in COUNTED_SCORES}
    (first / "scores.json").write_text(json.dumps(scores))

    comparison = line_up([read_run(folder, folder.name) for folder in (first, second)])

    assert comparison.patients == ("a",)
    assert comparison.left_out == {"b": "without a region in one"}


def test_each_region_that_all_have_is_compared(run, tmp_path):
    first = run("one", FIVE, regions=("WT", "TC", "ET"))
    second = run("two", FIVE, regions=("TC", "WT"))

    result = compare([first, second], tmp_path / "out")

    assert result.comparison.regions == ("WT", "TC")
    assert re.findall("^## (.*)$", lines_of(result), re.MULTILINE)[:2] == ["WT", "TC"]
    assert "Not compared: ET of one, missing in another run." in lines_of(result)
    assert len(rows_of(result.output / "patients.csv")) == 2 * 2 * 5


def test_a_run_that_finds_nothing_is_told_of(run, tmp_path):
    result = compare(
        [run("works", FIVE), run("collapsed", dict.fromkeys(FIVE, 0))], tmp_path / "out"
    )

    said = (
        "collapsed: WT is predicted only in other places; no voxel agrees with the reference of "
        "any of the 5 cases with WT."
    )
    assert f"- {said}" in lines_of(result)
    assert "works: WT" not in lines_of(result)


def test_runs_that_were_scored_against_other_references_are_told_of(run, tmp_path):
    first, second = run("one", FIVE), run("two", FIVE)
    scores = json.loads((second / "scores.json").read_text())
    scores["cases"]["c"]["regions"]["WT"]["reference_voxels"] += 1
    (second / "scores.json").write_text(json.dumps(scores))

    told = lines_of(compare([first, second], tmp_path / "out"))

    assert "- The runs were scored against different references of c, as their" in told
    assert "different references" not in lines_of(compare([first, run("x", FIVE)], tmp_path / "b"))


def test_two_examinations_of_a_patient_count_once(run):
    cases = {"BraTS-GLI-00001-000": 9, "BraTS-GLI-00001-001": 5, "BraTS-GLI-00002-000": 8}

    comparison = line_up([read_run(run(name, cases), name) for name in ("one", "two")])

    assert comparison.by_patient(comparison.runs[0], "WT", "dice") == pytest.approx(
        {"BraTS-GLI-00001": 0.7, "BraTS-GLI-00002": 0.8}
    )


def test_the_data_list_of_a_run_says_who_the_patients_are(run, tmp_path):
    first, second = run("one", {"a": 9, "b": 5}), run("two", {"a": 8, "b": 8})
    images = (tmp_path / "i.nii.gz",)
    cases = [
        VolumeCase(name, "p", images, ("t1n",), (tmp_path / "l.nii.gz",), fold=0) for name in "ab"
    ]
    write_data_list(first / "data_list.json", DataList("n", ("t1n",), tuple(cases)), tmp_path)
    (second / "data_list.json").write_text("no list")

    comparison = line_up([read_run(folder, folder.name) for folder in (first, second)])

    # What one run knows holds for the other, too.
    assert comparison.patients == ("p",)
    assert comparison.by_patient(comparison.runs[0], "WT", "dice") == {"p": pytest.approx(0.7)}


def test_missing_channels_are_named_with_their_patient(run, tmp_path):
    missing = {"a": ["t1c", "t1n"], "b": [], "elsewhere": ["t1n"]}
    first, second = run("one", FIVE, missing_channels=missing), run("two", FIVE)

    result = compare([first, second], tmp_path / "out")

    assert "Without t1c, t1n: a; zeros or another channel stand in." in lines_of(result)
    rows = rows_of(result.output / "patients.csv")
    assert {r["missing_channels"] for r in rows if r["patient_id"] == "a"} == {"t1c t1n"}
    assert {r["missing_channels"] for r in rows if r["patient_id"] != "a"} == {""}
    assert [r["dice"] for r in rows if r["patient_id"] == "b"] == ["0.8", "0.8"]


def test_means_over_slices_are_named_for_what_they_are(run, tmp_path):
    means = {"dice": 0.8, "iou": 0.7, "precision": 0.9, "recall": 0.75}
    slices = {"WT": {"tumour_slices": {"n": 20, **means}, "all_slices": {"n": 60, **means}}}
    first = run("one", FIVE, slices=slices)
    second = run("two", {**FIVE, "more": 5}, slices=slices)

    result = compare([first, second], tmp_path / "out")

    text = lines_of(result)
    assert "| one | WT | tumour slices | 20 | 0.800 | 0.700 | 0.900 | 0.750 " in text
    assert "| one | WT | all slices | 60 |" in text
    # The slices of the other run are also of a case that is left out here.
    assert "| two | WT | tumour slices" not in text
    rows = rows_of(result.output / "comparison.csv")
    assert [r["mean"] for r in rows if r["over"] == "tumour_slices"][:4] == [
        "0.8",
        "0.7",
        "0.9",
        "0.75",
    ]


def test_without_slices_there_is_no_section_of_slices(run, tmp_path):
    result = compare([run("one", FIVE), run("two", FIVE)], tmp_path / "out")

    assert "slices" not in lines_of(result)


def test_a_long_list_of_patients_stays_in_its_own_file(run, tmp_path):
    many = {f"case{n:02d}": n % 10 + 1 for n in range(41)}

    result = compare([run("one", many), run("two", many)], tmp_path / "out")

    assert "Dice of each patient\n" not in lines_of(result)
    assert len(rows_of(result.output / "patients.csv")) == 82


# Folds of a cross-validation


@pytest.fixture
def folds(tmp_path):
    """Makes a folder of two runs, `fold0` and `fold1`, as `fit --folds` does."""

    def make(name, **options):
        for fold, tenths in enumerate(({"a": 9, "b": 8}, {"c": 7, "d": 6, "e": 5})):
            write_scores(tmp_path / name / f"fold{fold}", tenths, **options)
        return tmp_path / name

    return make


def test_the_folder_of_folds_is_compared_as_one_run(run, folds, tmp_path):
    result = compare([folds("cv"), run("one", FIVE)], tmp_path / "out")

    pooled, single = result.comparison.runs
    assert pooled.name == "cv"
    assert pooled.cases == single.cases
    assert result.comparison.patients == ("a", "b", "c", "d", "e")
    assert "- cv is pooled from 2 runs: fold0, fold1." in lines_of(result)


def test_named_folds_are_compared_as_one_run_on_the_command_line(run, folds, tmp_path):
    pooled = folds("x")
    word = f"theirs={pooled / 'fold1'},{pooled / 'fold0'}"

    result = command(run("one", FIVE), word, "-o", tmp_path / "out")

    assert result.exit_code == 0, result.output
    assert {row["run"] for row in rows_of(tmp_path / "out" / "patients.csv")} == {"one", "theirs"}
    assert "theirs is pooled from 2 runs: fold1, fold0." in result.stdout


def test_a_patient_in_two_folds_is_refused(run, tmp_path):
    one = run("one", {"BraTS-GLI-00001-000": 9})
    two = run("two", {"BraTS-GLI-00002-000": 9}, unscored={"BraTS-GLI-00001-001": "missing"})

    with pytest.raises(
        DataListError, match=r"cv: patient BraTS-GLI-00001 is in .*one and in .*two, but the folds"
    ):
        compare([Folds("cv", (one, two)), run("other", FIVE)], tmp_path / "out")


def test_runs_with_other_regions_or_networks_are_no_folds_of_a_cross_validation(run, tmp_path):
    unet = run("unet", {"a": 9}, network="unet")
    other = run("other", {"b": 9}, network="segresnet")
    parts = run("parts", {"c": 9}, network="unet", regions=["TC"])

    with pytest.raises(DataListError, match=r"network of .*other: segresnet, of .*unet: unet"):
        compare([Folds("cv", (unet, other)), run("x", FIVE)], tmp_path / "out")
    with pytest.raises(DataListError, match=r"regions of .*parts: TC, of .*unet: WT"):
        compare([Folds("cv", (unet, parts)), run("x", FIVE)], tmp_path / "out")


def test_a_fold_without_scores_is_not_passed_over(run, folds, tmp_path):
    pooled = folds("cv")
    (pooled / "fold2").mkdir()

    with pytest.raises(DataListError, match=r"fold2 has no scores\.json"):
        compare([pooled, run("x", FIVE)], tmp_path / "out")


def test_means_over_slices_of_folds_are_weighted_by_their_numbers(run, tmp_path):
    def means(n, dice):
        counted = dict.fromkeys(("iou", "precision", "recall"), dice)
        of_all = {"n": n, "dice": dice, **counted}
        return {"WT": {"tumour_slices": of_all, "all_slices": {**of_all, "n": 2 * n}}}

    one = run("one", {"a": 9}, slices=means(30, 0.9))
    two = run("two", {"b": 8}, slices=means(10, 0.5))

    pooled = read_folds(Folds("cv", (one, two)))

    assert pooled.slices["WT"]["tumour_slices"]["n"] == 40
    assert pooled.slices["WT"]["tumour_slices"]["dice"] == pytest.approx(0.8)
    assert pooled.slices["WT"]["all_slices"]["n"] == 80


@pytest.mark.parametrize("word", ["=a,b", "cv=a"])
def test_a_word_without_name_or_with_one_run_names_no_folds(run, tmp_path, word):
    result = command(run("x", FIVE), word, "-o", tmp_path / "out")

    assert result.exit_code == 2
    assert f"Error: {word} does not name folds to pool; write NAME=RUN,RUN,..." in result.stderr


def test_the_same_folds_twice_are_refused(run, folds, tmp_path):
    pooled = folds("cv")

    with pytest.raises(ConfigError, match="is given twice"):
        compare([pooled, Folds("y", (pooled / "fold1", pooled / "fold0"))], tmp_path / "out")


# Cost


def test_multiply_adds_are_those_of_the_definition():
    convolution = torch.nn.Conv3d(2, 3, 3, padding=1, bias=False)
    linear = torch.nn.Linear(10, 7)

    # Voxels x inputs x outputs x kernel.
    assert count_multiply_adds(convolution, torch.zeros(1, 2, 4, 5, 6)) == 120 * 2 * 3 * 27
    assert count_multiply_adds(linear, torch.zeros(1, 10)) == 70


def test_costs_are_of_one_slice_or_one_window_in_the_order_of_the_models(tmp_path):
    networks = {}
    for name, config in (("flat", config_of(2)), ("deep", config_of(3))):
        (tmp_path / name).mkdir()
        networks[name] = write_model(tmp_path / name, config)
    models = [load_model(tmp_path / name) for name in networks]

    flat, deep = measure_costs(models, rounds=3)

    assert (flat.unit, flat.size, deep.unit, deep.size) == (
        *("slice", "16 x 16"),
        *("window", "16 x 16 x 16"),
    )
    for cost, network in zip((flat, deep), networks.values(), strict=True):
        assert cost.parameters == sum(p.numel() for p in network.parameters())
        assert 0 < cost.quartiles[0] <= cost.milliseconds <= cost.quartiles[1]
        assert cost.rounds == 3
    assert deep.multiply_adds > 16 * flat.multiply_adds > 0
    assert flat.precision == deep.precision == "float32" or torch.cuda.is_available()
    assert "thread" in machine_in_words() or torch.cuda.is_available()


@pytest.mark.parametrize(("computes", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_a_network_is_timed_in_what_infer_computes_in(monkeypatch, computes, expected):
    seen = []

    class Noted(torch.nn.Linear):
        def forward(self, image):
            seen.append(super().forward(image).dtype)
            return image

    monkeypatch.setattr("volseg.inference.windows.cpu_computes_in_bf16", lambda: computes)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    options = config_of(2).to_dict()
    options["inference"]["precision"] = "bf16"
    config = ExperimentConfig.from_dict(options)

    (cost,) = measure_costs([Model(Noted(16, 16), config, {}, "0", "", None)], rounds=3)

    assert cost.precision == expected
    # The first pass counts multiply-adds.
    assert set(seen[1:]) == {getattr(torch, expected)}


def test_networks_take_turns_and_three_rounds_are_always_timed(monkeypatch):
    order = []

    class Noted(torch.nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def forward(self, image):
            order.append(self.name)
            return image

    config = config_of(2)
    models = [Model(Noted(name), config, {}, "0", "", None) for name in "xy"]

    costs = measure_costs(models, rounds=50, most_seconds=0)

    # Counted, warmed up, three times timed.
    assert "".join(order) == "xy" + "xy" * 4
    assert [cost.rounds for cost in costs] == [3, 3]


def test_scores_without_a_model_have_no_cost_and_bear_the_name_of_their_folder(run, tmp_path):
    first = run("ours", FIVE, config_of(2), network="unet")
    second = run("theirs", FIVE)

    result = compare([first, second], tmp_path / "out")

    table = lines_of(result)
    assert re.search(r"^\| ours \| unet \|.*\d\] \|$", table, re.MULTILINE)
    assert re.search(r"^\| theirs \| - \| - \| - \| - \| - \|$", table, re.MULTILINE)
    assert "a slice is 16 x 16" in table
    rows = {(r["run"], r["score"]): r for r in rows_of(result.output / "comparison.csv")}
    assert rows["ours", "multiply_adds"]["over"] == "slice 16 x 16"
    assert float(rows["ours", "milliseconds"]["median"]) > 0
    assert ("theirs", "parameters") not in rows


def test_networks_of_slices_and_of_volumes_stand_in_one_table(run, tmp_path):
    first = run("flat", FIVE, config_of(2))
    second = run("deep", FIVE, config_of(3, focal=1.0))

    result = compare([first, second], tmp_path / "out")

    assert "| multiply-adds a slice or window (G) | ms a slice or window |" in lines_of(result)
    # The network is told by the model where the scores do not.
    assert [r.network for r in result.comparison.runs] == ["unet", "unet"]
    assert (
        "The runs were trained with different losses, whose values are not comparable."
        in lines_of(result)
    )


# Picture


@pytest.mark.parametrize(("regions", "wide"), [(("WT",), True), (("WT", "TC", "ET"), False)])
def test_the_picture_has_a_dot_of_each_run_for_each_patient(run, regions, wide):
    names = ("one", "two", "three")
    comparison = line_up([read_run(run(n, FIVE, regions=regions), n) for n in names])

    figure = comparison_figure(comparison)
    array = figure_array(figure)

    assert [panel.get_title() for panel in figure.axes] == list(regions)
    assert array.shape[1] == 960
    assert (array.shape[1] > array.shape[0]) == wide
    for panel in figure.axes:
        dots = panel.collections
        assert [len(dot.get_offsets()) for dot in dots] == [5, 5, 5]
        np.testing.assert_allclose(dots[0].get_offsets()[:, 1], [0.9, 0.8, 0.7, 0.6, 0.5])
    words = " ".join(text.get_text() for text in figure.texts)
    assert "5 patients" in words
    assert "95 % interval" in words
    assert "not for clinical use" in words


def test_the_picture_of_two_patients_and_many_runs_repeats_colours_without_intervals(run):
    count = len(RUN_COLOURS) + 1
    runs = [read_run(run(f"r{n}", {"a": 9, "b": 5}), f"r{n}") for n in range(count)]

    figure = comparison_figure(line_up(runs))

    assert len(figure.axes[0].collections) == count
    assert "interval" not in " ".join(text.get_text() for text in figure.texts)


# What is asked for


def test_fewer_than_two_runs_are_refused(run, tmp_path):
    with pytest.raises(
        ConfigError, match=r"found 1 run or config to compare, expected two or more"
    ):
        compare([run("one", FIVE)], tmp_path / "out")


def test_what_is_neither_run_nor_config_is_refused(run, tmp_path):
    one = run("one", FIVE, config_of(2))
    (tmp_path / "notes.txt").write_text("x")

    with pytest.raises(ConfigError, match=r"notes\.txt is neither a run folder nor a config"):
        compare([one, tmp_path / "notes.txt"], tmp_path / "out")
    with pytest.raises(ConfigError, match=r"safetensors is neither .*; give the folder that it is"):
        compare([one, one / "model.safetensors"], tmp_path / "out")
    with pytest.raises(ConfigError, match=r"nothing does not exist; give run folders or configs"):
        compare([one, tmp_path / "nothing"], tmp_path / "out")


def test_a_run_given_twice_is_refused(run, tmp_path):
    one = run("one", FIVE)

    with pytest.raises(ConfigError, match=r"one is given twice; give each run once"):
        compare([one, one / ".." / "one"], tmp_path / "out")


def test_runs_of_one_name_are_told_apart_by_their_path(tmp_path):
    folders = [write_scores(tmp_path / part / "unet", FIVE) for part in ("a", "b")]

    result = compare(folders, tmp_path / "out")

    assert [r.name for r in result.comparison.runs] == [str(folder) for folder in folders]


def test_a_folder_without_scores_tells_what_to_do(run, tmp_path):
    (tmp_path / "old").mkdir()

    with pytest.raises(DataListError, match=r"old has no scores\.json; train it .*volseg evaluate"):
        compare([run("one", FIVE), tmp_path / "old"], tmp_path / "out")


@pytest.mark.parametrize(
    "text", ["no JSON", "[]", "{}", '{"cases": {"a": {"status": "scored", "regions": {"WT": {}}}}}']
)
def test_scores_of_another_kind_are_refused(run, tmp_path, text):
    folder = tmp_path / "strange"
    folder.mkdir()
    (folder / "scores.json").write_text(text)

    with pytest.raises(DataListError, match=r"strange/scores\.json is not (JSON|as volseg wr)"):
        compare([run("one", FIVE), folder], tmp_path / "out")


@pytest.mark.parametrize(("score", "value"), [("dice", 2), ("iou", -0.1), ("recall", 1.5)])
def test_a_score_that_none_can_be_is_refused_and_named(run, tmp_path, score, value):
    first, second = run("one", FIVE), run("two", FIVE)
    scores = json.loads((second / "scores.json").read_text())
    scores["cases"]["c"]["regions"]["WT"][score] = value
    (second / "scores.json").write_text(json.dumps(scores))

    with pytest.raises(DataListError, match=rf"two/scores\.json is not .*WT\.{score}.*{value}"):
        compare([first, second], tmp_path / "out")


def test_thousands_of_patients_are_compared(run, tmp_path):
    # 2^1025 is no number of a computer any more.
    tenths = {f"p{n}": 1 + n % 9 for n in range(1025)}
    first, second = run("one", tenths), run("two", {case: 10 - t for case, t in tenths.items()})

    (row,) = rows_of(compare([first, second], tmp_path / "out").output / "pairs.csv")

    assert row["n_patients"] == "1025"
    assert float(row["smallest_p"]) < 1e-300


def test_options_without_a_config_are_refused(run, tmp_path):
    with pytest.raises(ConfigError, match=r"training\.seed=1 changes options of configs, but only"):
        compare([run("one", FIVE), run("two", FIVE)], tmp_path / "out", ["training.seed=1"])


def test_the_config_of_a_run_stands_for_nothing(run, tmp_path):
    one = run("one", FIVE, config_of(2))
    (one / "config.yaml").write_text("labels: lgg")

    with pytest.raises(ConfigError, match=r"is the config of a run; give its folder, .*one"):
        compare([run("two", FIVE), one / "config.yaml"], tmp_path / "out")


def test_a_loss_that_was_not_finite_leaves_the_scores_to_be_compared(run, tmp_path):
    losses = dict.fromkeys(FIVE, 0.5)
    diverged = run("diverged", FIVE, losses=losses | {"c": None})

    result = compare([run("one", FIVE, losses=losses), diverged], tmp_path / "out")

    assert [result.comparison.loss(r) for r in result.comparison.runs] == [0.5, None]


def test_a_run_that_has_not_come_to_its_end_is_named(run, tmp_path):
    stopped = run("stopped", FIVE)
    (stopped / "checkpoints").mkdir()
    (stopped / "checkpoints" / "step-00000003.ckpt").touch()

    result = compare([run("one", FIVE), stopped], tmp_path / "out")

    note = "- The training of stopped has not ended; its scores are preliminary.\n"
    assert lines_of(result).count("has not ended") == lines_of(result).count(note) == 1


# Configs are trained first


@pytest.fixture
def experiments(cohort, tmp_path):
    """Two small configs, `small.yaml` and `wide.yaml`, of networks of slices."""
    paths = []
    for name, width in (("small", 8), ("wide", 12)):
        path = tmp_path / f"{name}.yaml"
        path.write_text(
            f"""
labels: brats2023
data:
  data_list: {cohort / "list.json"}
  spacing_mm: [4, 4, 4]
  patch_size: [16, 16, 16]
  batches_per_epoch: 2
  workers: 0
network: {{name: unet, widths: [4, {width}], residual_units: 1}}
training: {{max_epochs: 1, accelerator: cpu}}
""",
            encoding="utf-8",
        )
        paths.append(path)
    return paths


@dataclass
class Trainer:
    """Takes the place of `fit`: notes what it is asked for, leaves scores or fails as told."""

    problems: dict = field(default_factory=dict)
    failures: tuple = ()
    calls: list = field(default_factory=list)
    configs: list = field(default_factory=list)

    def __call__(self, config, folder, *, resume=False):
        self.calls.append((folder.name, resume))
        self.configs.append(config)
        if problem := self.problems.get(folder.name):
            raise problem
        write_scores(folder, FIVE)
        return FitResult(folder, folder / "model.safetensors", failures=self.failures)


@pytest.fixture
def trainer(monkeypatch):
    stand_in = Trainer()
    monkeypatch.setattr(task, "fit", stand_in)
    return stand_in


def test_a_cache_that_is_there_is_used(experiments, trainer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "cache").mkdir(parents=True)

    compare(experiments, tmp_path / "out")

    cache = str(tmp_path / "runs" / "cache")
    assert [config.data.cache_dir for config in trainer.configs] == [cache, cache]


def test_the_cache_beside_a_given_run_comes_first_and_that_of_a_config_before_all(
    experiments, run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "cache").mkdir(parents=True)
    one = run("one", FIVE)
    (one.parent / "cache").mkdir(exist_ok=True)

    _, beside = plan_sources([one, experiments[0]], tmp_path / "out", [])
    _, named = plan_sources([one, experiments[0]], tmp_path / "out", ["data.cache_dir=here"])
    (tmp_path / "out" / "runs" / "cache").mkdir(parents=True)
    _, own = plan_sources([one, experiments[0]], tmp_path / "out", [])

    assert beside.config.data.cache_dir == str(one.parent / "cache")
    assert named.config.data.cache_dir == "here"
    assert own.config.data.cache_dir is None


def test_a_score_that_one_run_lacks_is_not_compared_and_named(run, tmp_path):
    first, second = run("one", FIVE), run("two", FIVE)
    scores = json.loads((second / "scores.json").read_text())
    for case in scores["cases"].values():
        del case["regions"]["WT"]["recall"]
    (second / "scores.json").write_text(json.dumps(scores))

    result = compare([first, second], tmp_path / "out")

    assert "Not compared: recall of one, missing in another run." in lines_of(result)
    assert "| run | Dice | IoU | precision |" in lines_of(result)
    rows = rows_of(result.output / "comparison.csv")
    others = {score.name for score in COUNTED_SCORES} - {"recall"}
    assert {row["score"] for row in rows} == others


def test_a_score_of_some_cases_alone_is_refused(run, tmp_path):
    first, second = run("one", FIVE), run("two", FIVE)
    scores = json.loads((second / "scores.json").read_text())
    del scores["cases"]["c"]["regions"]["WT"]["iou"]
    (second / "scores.json").write_text(json.dumps(scores))

    with pytest.raises(DataListError, match=r"two/scores\.json is not .*case c has no iou of WT"):
        compare([first, second], tmp_path / "out")


def test_configs_are_trained_compared_and_not_trained_again(experiments, tmp_path, monkeypatch):
    output = tmp_path / "out"

    result = compare(experiments, output)

    comparison = result.comparison
    assert result.failures == ()
    assert comparison.regions == ("WT", "TC", "ET")
    assert [r.network for r in comparison.runs] == ["unet", "unet"]
    small, wide = (comparison.costs[name] for name in ("small", "wide"))
    assert small.parameters < wide.parameters
    assert small.multiply_adds < wide.multiply_adds
    assert len(comparison.patients) == 2
    assert all(comparison.loss(r) is not None for r in comparison.runs)
    assert (output / "comparison.png").stat().st_size > 10_000

    trainer = Trainer()
    monkeypatch.setattr(task, "fit", trainer)
    again = compare(experiments, output)
    assert trainer.calls == []
    assert [r.cases for r in again.comparison.runs] == [r.cases for r in comparison.runs]

    # What would be another experiment is refused, before anything is trained.
    with pytest.raises(CheckpointError, match=r"another training\.seed than this config"):
        compare(experiments, output, ["training.seed=3"])
    with pytest.raises(CheckpointError, match=r"another inference\.threshold than this config"):
        compare(experiments, output, ["inference.threshold=0.4"])
    assert trainer.calls == []

    # A run that is to be longer than it was goes on.
    compare(experiments, output, ["training.max_epochs=2"])
    assert trainer.calls == [("small", True), ("wide", True)]


def test_a_stopped_run_goes_on_and_one_that_never_began_is_started(
    experiments, tmp_path, monkeypatch, trainer
):
    options = ["training.max_epochs=2", "training.devices=1"]
    folder = tmp_path / "out" / "runs" / "small"
    with monkeypatch.context() as patch:
        patch.setattr(EpochLog, "on_train_epoch_end", stop_in_the_second_epoch)
        handler = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            fit(load_config(experiments[0], options), folder)
        signal.signal(signal.SIGINT, handler)  # which Lightning has taken away

    compare(experiments, tmp_path / "out", options[:1])

    assert trainer.calls == [("small", True), ("wide", False)]


def stop_in_the_second_epoch(callback, trainer, module):
    if trainer.current_epoch == 1:
        raise KeyboardInterrupt


def test_a_training_that_fails_is_named_and_the_others_go_on(experiments, tmp_path, trainer, run):
    third = tmp_path / "third.yml"
    third.write_text(experiments[0].read_text())
    trainer.problems = {
        "small": OutputError("the disk is full; make room"),
        "wide": RuntimeError("CUDA out of memory"),
    }
    trainer.failures = (("case1", "t1c is constant"),)

    # Scores with a case that the configs validate: nothing is trained that has none in common.
    given = run("given", FIVE | {"BraTS-GLI-90003-000": 5})

    result = compare([*experiments, given, third], tmp_path / "out")

    assert result.failures == (
        ("small", "the disk is full; make room"),
        ("wide", "RuntimeError: CUDA out of memory"),
        ("third", "case case1 is left out: t1c is constant"),
    )
    assert [name for name, _ in trainer.calls] == ["small", "wide", "third"]
    assert [r.name for r in result.comparison.runs] == ["given", "third"]
    assert "- Failed: small: the disk is full; make room" in lines_of(result)


def test_one_run_that_is_left_is_still_described(experiments, tmp_path, trainer):
    trainer.problems = {"small": OutputError("full")}

    result = compare(experiments, tmp_path / "out")

    assert [r.name for r in result.comparison.runs] == ["wide"]
    assert "## Pairs" not in lines_of(result)


def test_when_every_training_fails_there_is_nothing_to_compare(experiments, tmp_path, trainer):
    trainer.problems = dict.fromkeys(("small", "wide"), OutputError("full"))

    with pytest.raises(VolsegError, match="no training succeeded; the first problem: full"):
        compare(experiments, tmp_path / "out")


def test_an_interrupt_stops_the_whole_comparison(experiments, tmp_path, trainer):
    trainer.problems = {"small": KeyboardInterrupt()}

    with pytest.raises(KeyboardInterrupt):
        compare(experiments, tmp_path / "out")

    assert trainer.calls == [("small", False)]


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        (
            "  fold: null",
            ConfigError,
            "second: data.fold is null, so there are no validation scores",
        ),
        ("  fold: 7", DataListError, "the list has the folds [0, 1]"),
        ("  fold: x", ConfigError, "second.yaml is not a valid config"),
        ("training: {devices: 2}", ConfigError, "trains on 2 devices of 1 nodes, but compare"),
        ("training: {devices: 1, nodes: 2}", ConfigError, "on 1 devices of 2 nodes"),
    ],
)
def test_a_mistake_in_the_last_config_is_found_before_the_first_training(
    experiments, tmp_path, trainer, line, error, words
):
    lines = experiments[0].read_text().splitlines()
    section = line.strip().split(":")[0]
    if section == "training":
        lines = [old for old in lines if not old.startswith("training")] + [line]
    else:
        lines.insert(lines.index("data:") + 1, line)
    second = tmp_path / "second.yaml"
    second.write_text("\n".join(lines))

    with pytest.raises(error, match=re.escape(words)):
        compare([experiments[0], second], tmp_path / "out")

    assert trainer.calls == []
    assert not (tmp_path / "out").exists()


def test_configs_that_will_share_no_case_or_region_are_not_trained(experiments, tmp_path, trainer):
    text = experiments[0].read_text()
    other = tmp_path / "other.yaml"
    other.write_text(text.replace("data:", "data:\n  fold: 1", 1))
    flat = tmp_path / "flat.yaml"
    flat.write_text(text.replace("brats2023", "{labels: {1: tissue}, regions: {all: [1]}}"))
    listed = load_config(experiments[0]).data.data_list
    unnamed = listed.with_name("unnamed.json")
    unnamed.write_text(re.sub(r', *"labels": *"brats2023"', "", listed.read_text()))
    flat.write_text(flat.read_text().replace(str(listed), str(unnamed)))
    given = write_scores(tmp_path / "given", FIVE)

    for sources, words in (
        ([experiments[0], other], "no case in common: small has BraTS"),
        ([experiments[0], given], "no case in common: small has BraTS"),
        ([experiments[0], flat], "no region in common: small has WT TC ET, flat has all"),
    ):
        with pytest.raises(DataListError, match=words):
            compare(sources, tmp_path / "out")

    assert trainer.calls == []


def test_weights_that_an_encoder_cannot_use_are_found_before_the_first_training(
    experiments, tmp_path, trainer
):
    second = tmp_path / "second.yaml"
    network = "network: {name: pspnet, encoder: resnet10, encoder_width: 4, encoder_weights: no.pt}"
    lines = [
        network if line.startswith("network") else line
        for line in experiments[0].read_text().splitlines()
    ]
    second.write_text("\n".join(lines))

    with pytest.raises(ModelError, match=r"encoder weights no\.pt cannot be read"):
        compare([experiments[0], second], tmp_path / "out")

    assert trainer.calls == []


def test_each_training_has_one_device_and_the_options_given(experiments, tmp_path, trainer):
    compare(experiments, tmp_path / "out", ["training.seed=4"])

    assert [(c.training.devices, c.training.seed) for c in trainer.configs] == [(1, 4), (1, 4)]


def test_configs_of_one_name_are_refused(experiments, tmp_path, trainer):
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / "small.yaml"
    twin.write_text(experiments[0].read_text())

    with pytest.raises(ConfigError, match="configs with different names"):
        compare([experiments[0], twin], tmp_path / "out")


# Command line


def command(*words):
    return CliRunner().invoke(app, ["compare", *map(str, words)])


def test_the_command_prints_the_table_the_tests_and_the_notes(run, tmp_path):
    one = run("one", FIVE, config_of(2), network="unet")
    two = run("two", dict.fromkeys("abcde", 4))

    result = command(one, two, "-o", tmp_path / "out")

    assert result.exit_code == 0, result.output
    assert re.search(r"one +│ 0.700 ", result.stdout)
    assert re.search(r"two +│ 0.400", result.stdout)
    assert "ms a slice" in result.stdout
    assert re.search(r"WT +│ one - two +│ \+0.300 +│ 0.0625 +│ 0.0625", result.stdout)
    assert "5 patients: p cannot fall below 0.0625." in result.stdout
    assert f"Comparison: {tmp_path / 'out' / 'comparison.md'}" in result.stdout
    assert result.stdout.endswith(
        "Next, to segment scans with the best run:\n  volseg infer SCANS -m RUN -o results\n"
    )


def test_scores_without_a_run_have_no_table_of_runs_and_no_model_to_segment_with(run, tmp_path):
    one, two = run("one", FIVE), run("two", dict.fromkeys("abcde", 4))

    result = command(one, two, "-o", tmp_path / "out")

    assert result.exit_code == 0, result.output
    assert "ms a" not in result.stdout
    assert "Next" not in result.stdout
    report = (tmp_path / "out" / "comparison.md").read_text()
    assert "## Runs" not in report
    assert "loss:" not in report


def test_words_with_an_equals_sign_are_options_unless_they_are_folders(monkeypatch, run, tmp_path):
    odd, two = run("rate=1", FIVE), run("two", FIVE)
    seen = []

    def note(*words):
        seen.append(words)
        return CompareResult(line_up([read_run(odd, "odd")]), tmp_path, (("x", "y"), ("x", "z")))

    monkeypatch.setattr(task, "compare", note)

    result = command(odd, two, "a.yaml", "training.seed=1", "-o", "out")

    assert seen == [([odd, two, Path("a.yaml")], Path("out"), ["training.seed=1"], "volseg")]
    assert result.exit_code == 3
    assert re.search(r"x +│ y *│\n│ x +│ z", result.stdout)


def test_a_mistake_is_one_line_and_exits_with_2(run, tmp_path):
    result = command(run("one", FIVE), "-o", tmp_path / "out")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: found 1 run or config to compare, expected two or more")
