from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
import yaml
from matplotlib.image import imread

from volseg.config import ExperimentConfig, load_config
from volseg.errors import OutputError
from volseg.images.nifti_reading import read_label_map
from volseg.tasks.demo import CONFIG, demo

# Small enough for seconds; too little to learn much.
SHAPE = (48, 48, 32)
OVERRIDES = (
    "data.patch_size=[32,32,32]",
    "data.batches_per_epoch=20",
    "data.workers=0",
    "network.widths=[8,16,32]",
    "training.max_epochs=2",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    steps = []
    folder = tmp_path_factory.mktemp("home") / "demo: 100% #1"
    return demo(folder, 8, SHAPE, OVERRIDES, steps.append), steps


def test_cases_kept_apart_are_segmented_and_scored(finished):
    result, _ = finished

    predicted = sorted((result.folder / "predictions").glob("*.nii.gz"))
    assert [path.name for path in predicted] == [
        "BraTS-GLI-90007-000.nii.gz",
        "BraTS-GLI-90008-000.nii.gz",
    ]
    assert read_label_map(predicted[0])[0].shape == SHAPE
    assert list(result.dice) == ["WT", "TC", "ET"]
    scores = json.loads((result.folder / "scores" / "scores.json").read_text())
    assert scores["summary"]["WT"]["dice"]["mean"] == pytest.approx(result.dice["WT"])
    assert scores["summary"]["WT"]["n_cases"] == 2


def test_the_longest_time_of_the_training_is_said_first(finished):
    result, steps = finished

    config = result.folder / "config.yaml"
    assert steps[0] == f"# training takes at most 3 min 30 s (training.max_time in {config})"


def test_a_report_shows_the_scored_cases(finished):
    result, _ = finished

    page = result.report.read_text(encoding="utf-8")
    assert result.report == result.folder / "report.html"
    assert "2 scored, 0 missing, 0 failed" in page
    assert page.count('<img src="data:image/webp') == 2 * 4


def test_network_learns_something(finished):
    result, _ = finished

    assert result.dice["WT"] > 0.2


def test_the_numbers_of_the_demo_are_those_of_its_config(finished):
    config = finished[0].folder / "config.yaml"
    placed = {"labels": "brats2023", "data_list": json.dumps(str(config.parent / "data_list.json"))}
    told = yaml.safe_load(CONFIG.format(**placed, spacing=240 / SHAPE[0]))

    assert load_config(config) == ExperimentConfig.from_dict(told, where="the demo")
    run = yaml.safe_load((config.parent / "run" / "config.yaml").read_text())
    assert run["training"]["learning_rate"] == told["training"]["learning_rate"]
    assert run["network"]["residual_units"] == told["network"]["residual_units"]
    assert run["data"]["batch_size"] == told["data"]["batch_size"]


def test_every_step_is_announced_as_the_command_that_does_it(finished):
    result, steps = finished
    home = result.folder

    commands = [shlex.split(step)[1:] for step in steps if step.startswith("volseg ")]

    assert commands == [
        ["split", f"{home}/training", "-o", f"{home}/data_list.json", "--labels", "brats2023"],
        ["fit", f"{home}/config.yaml", *OVERRIDES, "-o", f"{home}/run"],
        ["infer", f"{home}/validation", "-m", str(result.model), "-o", f"{home}/predictions"],
        ["evaluate", f"{home}/predictions", f"{home}/validation", "-o", f"{home}/scores"],
        ["report", f"{home}/scores", "-o", f"{home}/report.html"],
    ]


def test_announced_commands_are_understood_by_the_command_line(finished):
    from typer.main import get_command

    from volseg.cli import app

    commands = get_command(app).commands
    for step in finished[1]:
        if step.startswith("volseg "):
            name, *words = shlex.split(step)[1:]
            commands[name].make_context(name, words)


def test_picture_shows_a_row_for_each_case_and_the_outlines_of_the_reference(finished):
    picture = imread(finished[0].picture)[..., :3]

    tint = picture.max(axis=2) - picture.min(axis=2)
    top, bottom = np.array_split(tint[55:-60], 2)
    assert (top > 0.3).sum() > 100
    assert (bottom > 0.3).sum() > 100


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(OutputError, match=r"is there already; remove it or choose another"):
        demo(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match=r"file.demo cannot be made .*; choose another with -o"):
        demo(tmp_path / "file" / "demo")
