"""Run folders as submission and `--folds` see them: without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from volseg.cases.data_list import read_data_list, write_data_list
from volseg.config import ExperimentConfig, load_config, write_config
from volseg.errors import CheckpointError, OutputError
from volseg.runs.checkpoint_files import checkpoint_path, find_checkpoints
from volseg.runs.description import _git_state
from volseg.runs.folder import check_run, is_held, open_run
from volseg.runs.folds import fit_folds, with_fold
from volseg.runs.metrics_table import read_metrics
from volseg.runs.resuming import check_same_experiment, has_ended

CASE = {"image": ["t1n.nii", "t1c.nii", "t2w.nii", "t2f.nii"], "label": "seg.nii"}


@pytest.fixture
def experiment(tmp_path, monkeypatch) -> ExperimentConfig:
    """An experiment with the folds 0 and 1, in the current folder."""
    monkeypatch.chdir(tmp_path)
    cases = [CASE | {"case_id": f"c{n}", "patient_id": f"p{n}", "fold": n} for n in range(2)]
    listed = {"volseg": 1, "name": "list", "channels": ["t1n", "t1c", "t2w", "t2f"]}
    Path("list.json").write_text(json.dumps(listed | {"data_root": ".", "training": cases}))
    Path("small.yaml").write_text(
        yaml.safe_dump({"labels": "brats2023", "data": {"data_list": "list.json"}})
    )
    return load_config(Path("small.yaml"))


def begin(run: Path, config: ExperimentConfig, *, steps=(), finished=False, rows=0) -> None:
    """A folder as `fit` leaves it."""
    run.mkdir(parents=True)
    write_config(run / "config.yaml", config)
    write_data_list(run / "data_list.json", read_data_list(config.data.data_list), Path())
    told = {"versions": {"volseg": "0.1.0"}} | ({"finished": True} if finished else {})
    (run / "environment.json").write_text(json.dumps(told))
    columns = "epoch,step,seconds,learning_rate,train/loss,val/loss"
    (run / "metrics.csv").write_text(f"{columns}\n" + "1,2,3,4,5,6\n" * rows)
    (run / "checkpoints").mkdir()
    for number in steps:
        checkpoint_path(run, number).touch()


def test_checkpoints_are_found_newest_first(experiment):
    begin(Path("r"), experiment, steps=(5, 100, 20))

    assert [path.name for path in find_checkpoints(Path("r"))] == [
        "step-00000100.ckpt",
        "step-00000020.ckpt",
        "step-00000005.ckpt",
    ]


@pytest.mark.parametrize(
    ("begun", "held"),
    [
        ({}, False),
        # The row of the first epoch is there, its checkpoint is not.
        ({"rows": 1}, False),
        ({"rows": 2}, True),
        ({"steps": (3,)}, True),
        ({"finished": True}, True),
    ],
)
def test_a_folder_is_held_by_what_must_not_be_lost(experiment, begun, held):
    begin(Path("r"), experiment, **begun)

    assert is_held(Path("r")) == held


def test_a_run_does_not_go_on_with_cases_that_are_preprocessed_otherwise(experiment, monkeypatch):
    listed = read_data_list(experiment.data.data_list)
    run = Path("r")
    open_run(run, experiment, listed, resume=False)
    (run / "checkpoints").mkdir()
    checkpoint_path(run, 3).touch()
    check_run(run, experiment, listed, resume=True)

    monkeypatch.setattr("volseg.config.preprocessing._VERSION", 99)
    with pytest.raises(
        CheckpointError, match="by a version of volseg that preprocesses differently"
    ):
        check_run(run, experiment, listed, resume=True)
    # Begun before the digest was noted.
    (run / "environment.json").write_text("{}")
    check_run(run, experiment, listed, resume=True)


def test_a_folder_of_something_else_is_held(tmp_path):
    (tmp_path / "checkpoints").mkdir()

    assert is_held(tmp_path)
    with pytest.raises(OutputError, match="already holds a run; choose another -o"):
        check_run(tmp_path, None, None, resume=False)
    with pytest.raises(CheckpointError, match="holds no checkpoint; choose another -o"):
        check_run(tmp_path, None, None, resume=True)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"\xff\xfe", "is not a CSV table"),
        (b"epoch,val\n1\n", "row 2 has 1 cells, but the header 2"),
        (b"epoch,val\n1,x\n", "row 2 of .* does not describe an epoch"),
        (b"epoch,val\n1.5,1\n", "row 2 of .* does not describe an epoch"),
        (b"step\n1\n", "row 2 of .* does not describe an epoch"),
    ],
)
def test_a_damaged_table_of_epochs_is_named(tmp_path, content, found):
    (tmp_path / "metrics.csv").write_bytes(content)

    with pytest.raises(OutputError, match=rf"{found}.*; correct it, or move it away"):
        read_metrics(tmp_path / "metrics.csv")


def test_a_finished_run_has_ended_until_its_limits_are_others(experiment):
    begin(Path("r"), experiment, finished=True)

    assert has_ended(Path("r"), load_config(Path("small.yaml"), ["data.workers=3"]))
    assert not has_ended(Path("r"), load_config(Path("small.yaml"), ["training.max_epochs=9"]))


@pytest.mark.parametrize(
    ("option", "value", "is_refused"),
    [("threshold", 0.4, True), ("tta", "true", True), ("window_batch", 4, False)],
)
def test_a_run_does_not_go_on_with_validations_of_another_kind(
    experiment, option, value, is_refused
):
    begin(Path("r"), experiment, steps=(3,), rows=1)
    data_list = read_data_list(experiment.data.data_list)
    now = load_config("small.yaml", [f"inference.{option}={value}"])

    if is_refused:
        with pytest.raises(CheckpointError, match=rf"another inference\.{option} than"):
            check_run(Path("r"), now, data_list, resume=True)
    else:
        check_run(Path("r"), now, data_list, resume=True)


def test_fewer_epochs_than_a_run_has_trained_are_refused(experiment):
    begin(Path("r"), experiment, steps=(3,), rows=1)
    table = Path("r/metrics.csv")
    table.write_text(table.read_text() + "5,2,3,4,5,6\n")
    data_list = read_data_list(experiment.data.data_list)
    as_many, fewer = (load_config("small.yaml", [f"training.max_epochs={n}"]) for n in (5, 4))

    check_run(Path("r"), as_many, data_list, resume=True)
    with pytest.raises(CheckpointError, match=r"trained 5 epochs, but training\.max_epochs is 4"):
        check_run(Path("r"), fewer, data_list, resume=True)


def test_a_fold_killed_in_its_first_checkpoint_begins_anew(experiment):
    begin(Path("r/fold0"), with_fold(experiment, 0))
    Path("r/fold0/checkpoints/.volseg-0123abcd-step-00000003.ckpt").touch()

    fit_folds(experiment, Path("r"), "0", resume=True, program=["bash", "-c", 'echo "$@" >calls'])

    assert "--resume" not in Path("calls").read_text()


def test_the_cases_of_folds_that_are_finished_are_read_once(experiment, monkeypatch):
    for fold in (0, 1):
        begin(Path(f"r/fold{fold}"), with_fold(experiment, fold), finished=True)
        noted = Path(f"r/fold{fold}/environment.json")
        noted.write_text(json.dumps({**json.loads(noted.read_text()), "sources": {}}))
    calls = []
    monkeypatch.setattr(
        "volseg.runs.folds.case_fingerprints", lambda cases: calls.append(cases) or {}
    )

    result = fit_folds(experiment, Path("r"), "0,1", resume=True, program=["false"])

    assert len(result.kept) == 2
    assert len(calls) == 1


def test_a_finished_fold_without_its_checkpoints_is_kept(experiment):
    begin(Path("r/fold0"), with_fold(experiment, 0), finished=True)

    result = fit_folds(experiment, Path("r"), "0", resume=True, program=["false"])

    assert result.kept == (Path("r/fold0"),)


def test_going_on_with_a_run_is_submitted_without_torch(experiment):
    begin(Path("r"), experiment, steps=(3,))
    words = ["fit", "small.yaml", "-o", "r", "--resume", "--slurm", "defaults", "--dry-run"]
    script = f"import sys\nfrom volseg import cli\ntry:\n    cli.app({words})\nexcept SystemExit:\n"
    script += "    print({'torch', 'monai', 'pytorch_lightning'} & set(sys.modules))"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=600
    )

    assert done.stdout.startswith("#!/bin/bash")
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("name", ["seg.nii", "t2w.nii"])
def test_a_run_belongs_to_the_images_and_label_maps_that_it_began_with(experiment, name):
    for file in (*CASE["image"], CASE["label"]):
        Path(file).write_bytes(bytes(3_000_000))
    data_list = read_data_list(experiment.data.data_list)
    open_run(Path("r"), experiment, data_list, resume=False)
    checkpoint_path(Path("r"), 1).parent.mkdir()
    checkpoint_path(Path("r"), 1).touch()

    os.utime(name, (0, 0))
    check_run(Path("r"), experiment, data_list, resume=True)
    # Of the large image, its end is read, where a compressed file always changes.
    Path(name).write_bytes(bytes(2_999_999) + b"!")

    said = "2 cases of 2, such as c0, hold other images or label maps now than when the run in r"
    with pytest.raises(CheckpointError, match=said):
        open_run(Path("r"), experiment, data_list, resume=True)
    with pytest.raises(CheckpointError, match=said):
        check_same_experiment(Path("r"), experiment, data_list)
    Path(name).write_bytes(bytes(3_000_000))
    open_run(Path("r"), experiment, data_list, resume=True)


def test_a_run_goes_on_with_the_cases_that_it_began_with(experiment):
    for file in (*CASE["image"], CASE["label"]):
        Path(file).write_bytes(bytes(100))
    data_list = read_data_list(experiment.data.data_list)
    last = data_list.training[-1]
    alone = replace(last, label=(Path("other.nii").absolute(),))
    data_list = replace(data_list, training=(*data_list.training[:-1], alone))
    runs = {"without": Path("a"), "with": Path("b")}
    for there, run in runs.items():
        if there == "with":
            Path("other.nii").write_bytes(bytes(100))
        open_run(run, experiment, data_list, resume=False)
        checkpoint_path(run, 1).parent.mkdir()
        checkpoint_path(run, 1).touch()

    check_run(Path("b"), experiment, data_list, resume=True)
    said = f"1 case of 2, such as {last.case_id}, can be read now, but could not when the run in a"
    with pytest.raises(CheckpointError, match=said):
        open_run(Path("a"), experiment, data_list, resume=True)

    Path("other.nii").unlink()
    open_run(Path("a"), experiment, data_list, resume=True)
    said = f"1 case of 2, such as {last.case_id}, cannot be read now, but could when the run in b"
    with pytest.raises(CheckpointError, match=said):
        open_run(Path("b"), experiment, data_list, resume=True)


def test_files_that_git_does_not_track_are_no_changes_of_volseg(tmp_path, monkeypatch):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("volseg.runs.description.__file__", str(tmp_path / "code.py"))
    (tmp_path / "code.py").write_text("a = 1\n")
    for words in (["init", "-q"], ["add", "code.py"], ["commit", "-q", "-m", "first"]):
        git(*words)
    (tmp_path / "list.json").write_text("{}")
    untracked = _git_state()
    (tmp_path / "code.py").write_text("a = 2\n")

    assert untracked["uncommitted_changes"] is False
    assert _git_state()["uncommitted_changes"] is True
