"""No command replaces or removes a file that volseg did not write, nor an input."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from experiments import run_in
from matplotlib.figure import Figure
from typer.testing import CliRunner

from volseg.cases.data_list import read_data_list, write_data_list
from volseg.cli import app
from volseg.config import load_config, write_config
from volseg.errors import OutputError
from volseg.figures.figure_files import save_figure
from volseg.files.ownership import check_no_inputs, is_data_list, is_log, is_ours
from volseg.files.writing import atomic_write, check_outputs, make_output, remove
from volseg.images.slice_masks import write_masks
from volseg.metrics.groups import GroupTable
from volseg.metrics.record import ScoreRecord
from volseg.metrics.slices import SliceTable
from volseg.metrics.table import ScoreTable
from volseg.runs.folder import check_run, open_run
from volseg.tasks.evaluate import evaluate
from volseg.tasks.split import split

FOREIGN = {
    "metrics.csv": "epoch,step,loss\n1,2,0.5\n",
    "scores.csv": "name,dice\na,1\n",
    "scores.json": '{"dice": 0.8}\n',
    "groups.csv": "site,n\n",
    "config.yaml": "# mine, with thought\nlabels: brats2023\n",
    "list.json": '{"training": []}',
    "comparison.md": "# Comparison\n\n- of apples\n",
    "job.sh": "#!/bin/bash\necho mine\n",
    "samples.png": "\x89PNG of mine",
    "sweep.gif": "GIF89a of mine",
    "sweep.webp": "RIFF of mine",
    "slice.jpg": "a slice of mine",
    "slice.svg": "<svg><text>drawn with volseg</text></svg>",
    "slice.pdf": "%PDF-1.4 of mine, volseg",
    "CASE-t1n.nii.gz": "a scan",
    "model.safetensors": "weights of another tool",
}


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_volseg_did_not_write_is_neither_replaced_nor_removed(tmp_path, name):
    path = tmp_path / name
    path.write_text(FOREIGN[name], encoding="utf-8")
    before = contents(tmp_path)

    def write() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("ours")

    with pytest.raises(OutputError, match=rf"{name} is there already and volseg did not write it"):
        write()
    with pytest.raises(OutputError, match="volseg did not write it; move it away, or choose"):
        check_outputs(tmp_path, [name])
    remove(path)

    assert contents(tmp_path) == before


def test_what_volseg_writes_it_knows_again(tmp_path, experiment):
    config = load_config(experiment)
    open_run(tmp_path / "run", config, read_data_list(config.data.data_list), resume=False)
    ScoreRecord(ScoreTable.of([]), SliceTable.of([])).write(tmp_path, {})
    SliceTable.of([]).to_csv(tmp_path / "slices.csv")
    GroupTable(()).to_csv(tmp_path / "groups.csv")
    for ending in ("png", "jpg", "svg", "pdf"):
        save_figure(Figure(), tmp_path / f"any.{ending}")

    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".nii"]
    written = [path for path in written if path.name not in {"list.json", "small.yaml"}]

    assert {path.name for path in written} == {
        *("config.yaml", "data_list.json", "environment.json"),
        *("scores.csv", "scores.json", "slices.csv", "groups.csv"),
        *("any.png", "any.jpg", "any.svg", "any.pdf"),
    }
    assert all(is_ours(path) for path in written)


def test_a_config_that_was_edited_is_the_users(tmp_path, experiment):
    path = tmp_path / "config.yaml"
    write_config(path, load_config(experiment))
    assert is_ours(path)

    path.write_text("# the good one\n" + path.read_text())

    assert not is_ours(path)


def test_a_link_is_not_replaced(tmp_path):
    ours = tmp_path / "scores.json"
    ours.write_text('{"volseg": "0.1.0"}')
    link = tmp_path / "elsewhere" / "scores.json"
    link.parent.mkdir()
    link.symlink_to(ours)

    with pytest.raises(OutputError, match=r"is a link to .*scores\.json, which is not replaced"):
        check_outputs(link.parent, ["scores.json"])
    ours.unlink()
    with pytest.raises(OutputError, match="is a link to"):
        check_outputs(link.parent, ["scores.json"])


def test_an_input_is_known_by_any_of_its_names(tmp_path):
    (tmp_path / "scan.nii.gz").write_text("a scan")
    os.link(tmp_path / "scan.nii.gz", tmp_path / "hard.nii.gz")
    (tmp_path / "soft.nii.gz").symlink_to("scan.nii.gz")

    for name in ("hard", "soft", "scan"):
        with pytest.raises(OutputError, match=rf"{name}.nii.gz is an input and would be replaced"):
            check_no_inputs([tmp_path / f"{name}.nii.gz"], [tmp_path / "scan.nii.gz"])
    check_no_inputs([tmp_path / "new.nii.gz"], [tmp_path / "scan.nii.gz"])


# Commands


@pytest.mark.parametrize("name", ["x.nii.gz", "list", "list.yaml", "CASE-t1n.nii.gz"])
def test_split_writes_json_alone(cohort, tmp_path, name):
    (tmp_path / "CASE-t1n.nii.gz").write_text("a scan")
    before = contents(tmp_path)

    with pytest.raises(OutputError, match=rf"{name} does not end in \.json"):
        split([cohort / "scans"], tmp_path / name)

    assert contents(tmp_path) == before


def test_split_replaces_a_data_list_and_no_other_json(cohort, tmp_path):
    path = tmp_path / "list.json"
    path.write_text('{"training": [], "name": "of another program"}')

    with pytest.raises(OutputError, match=r"list\.json is there already and is no data"):
        split([cohort / "scans"], path, folds=2)
    path.unlink()
    split([cohort / "scans"], path, folds=2)
    split([cohort / "scans"], path, folds=3)

    assert {case.fold for case in read_data_list(path).training} == {0, 1, 2}


@pytest.mark.parametrize("cases", [5, None, {"a": 1}, "a"])
def test_a_document_whose_cases_are_no_list_is_no_data_list_of_ours(tmp_path, cases):
    (tmp_path / "a.json").write_text(json.dumps({"volseg": 1, "training": cases}))

    assert not is_data_list(tmp_path / "a.json")


@pytest.mark.parametrize("version", ["new", "old"])
@pytest.mark.parametrize("edit", ["fold", "layout", "note"])
def test_split_does_not_replace_a_data_list_that_was_edited(cohort, tmp_path, version, edit):
    path = tmp_path / "list.json"
    split([cohort / "scans"], path, folds=2)
    content = json.loads(path.read_text())
    if version == "old":  # without a digest
        del content["sha256"]
        path.write_text(re.sub(r'"sha256": "[0-9a-f]{64}",\n', "", path.read_text()))
        if edit == "fold":
            pytest.skip("not told from a list of an older version")
    assert is_data_list(path)
    edited = {
        "fold": path.read_text().replace('"fold": 1', '"fold": 0'),
        "layout": json.dumps(content, indent=1),
        "note": path.read_text().replace("{\n", '{\n"description":  "mine",\n', 1),
    }[edit]
    path.write_text(edited)
    read_data_list(path)

    with pytest.raises(OutputError, match=r"is no data list of volseg split; choose"):
        split([cohort / "scans"], path, folds=2)

    assert path.read_text() == edited


@pytest.mark.parametrize("name", ["scores.json", "environment.json", "data_list.json", "m.json"])
def test_split_does_not_replace_what_other_commands_wrote(cohort, tmp_path, experiment, name):
    config = load_config(experiment)
    run = tmp_path / "run"
    open_run(run, config, read_data_list(config.data.data_list), resume=False)
    ScoreRecord(ScoreTable.of([]), SliceTable.of([])).write(run, {})
    (run / "m.json").write_text('{"volseg": 1, "training": "of mine"}')
    before = contents(run)

    with pytest.raises(OutputError, match=rf"{name} is (there already|the data list of a run)"):
        split([cohort / "scans"], run / name, folds=2)

    assert contents(run) == before


@pytest.mark.parametrize("name", ["scores.json", "environment.json", "other.json"])
def test_a_document_of_the_user_that_names_volseg_is_not_ours(tmp_path, name):
    (tmp_path / name).write_text('{"volseg": "notes of mine", "todo": [1, 2]}')

    assert not is_ours(tmp_path / name)


@pytest.mark.parametrize("name", ["metrics.csv", "scores.json", "config.yaml", "tensorboard"])
def test_a_folder_that_volseg_did_not_begin_becomes_no_run(tmp_path, experiment, name):
    run = tmp_path / "exp"
    run.mkdir()
    if name == "tensorboard":
        (run / name).mkdir()
        (run / name / "mine.txt").write_text("seen on Monday")
    else:
        (run / name).write_text(FOREIGN[name])
    before = contents(tmp_path)
    config = load_config(experiment)
    data_list = read_data_list(config.data.data_list)

    with pytest.raises(OutputError, match=rf"exp holds {name}, but no run of volseg"):
        open_run(run, config, data_list, resume=False)

    assert contents(tmp_path) == before


def test_a_run_beside_other_files_leaves_them_alone(tmp_path, experiment):
    run = tmp_path / "exp"
    (run / "tensorboard").mkdir(parents=True)
    shutil.rmtree(run / "tensorboard")
    (run / "small.yaml").write_text("# mine")
    config = load_config(experiment)
    data_list = read_data_list(config.data.data_list)

    open_run(run, config, data_list, resume=False)

    assert (run / "small.yaml").read_text() == "# mine"
    assert is_ours(run / "config.yaml")


def test_beginning_anew_removes_what_the_run_wrote_and_nothing_else(tmp_path, experiment):
    config = load_config(experiment)
    data_list = read_data_list(config.data.data_list)
    run = tmp_path / "exp"
    open_run(run, config, data_list, resume=False)
    for folder in ("tensorboard", "checkpoints"):
        (run / folder).mkdir()
        (run / folder / "mine.txt").write_text("seen on Monday")
    log = run / "tensorboard" / "events.out.tfevents.1.host.2.0"
    log.write_text("of another program")
    log.with_name(f"{log.name}.volseg").write_text("of the run")
    (run / "metrics.csv").write_text("epoch,step,seconds,learning_rate,train/loss,val/loss\n")
    unfinished = run / "checkpoints" / ".volseg-0123abcd-step-00000003.ckpt"
    unfinished.touch()

    open_run(run, config, data_list, resume=False)

    assert not unfinished.exists()
    assert not (run / "metrics.csv").exists()
    assert sorted(path.name for path in (run / "tensorboard").iterdir()) == [log.name, "mine.txt"]
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["mine.txt"]


def test_a_run_writes_logs_that_are_known_by_their_names(tmp_path):
    from pytorch_lightning.loggers import TensorBoardLogger

    from volseg.files.ownership import EVENTS_ENDING

    board = TensorBoardLogger(tmp_path, "logs", "", filename_suffix=EVENTS_ENDING)
    board.experiment.add_text("config", "x")
    board.experiment.close()

    (log,) = (tmp_path / "logs").iterdir()
    assert is_log(log.name)


def test_a_run_of_the_older_version_is_known_by_its_environment(tmp_path, experiment):
    run_in(Path("old"), finished=False)
    config = load_config(Path("old/config.yaml"))
    data_list = read_data_list(config.data.data_list)
    shutil.rmtree("old/checkpoints")
    Path("old/environment.json").write_text('{"versions": {"volseg": "0.1.0"}, "python": "3"}')
    write_config(Path("old/config.yaml"), config)
    write_data_list(Path("old/data_list.json"), data_list, Path())

    check_run(Path("old"), config, data_list, resume=False)
    Path("old/environment.json").unlink()
    with pytest.raises(OutputError, match="but no run of volseg"):
        check_run(Path("old"), config, data_list, resume=False)


def test_resuming_leaves_a_config_alone_that_says_the_same(experiment):
    run_in(Path("r"))
    config = load_config(Path("small.yaml"))
    edited = "# the good one\n" + Path("r/config.yaml").read_text()
    Path("r/config.yaml").write_text(edited)
    Path("r/environment.json").write_text('{"versions": {"volseg": "0.1.0"}}')
    config = load_config(Path("r/config.yaml"))

    with pytest.raises(OutputError, match=r"config\.yaml is there already"):
        open_run(
            Path("r"),
            load_config(Path("r/config.yaml"), ["training.max_epochs=7"]),
            read_data_list(config.data.data_list),
            resume=True,
        )
    open_run(Path("r"), config, read_data_list(config.data.data_list), resume=True)

    assert Path("r/config.yaml").read_text() == edited


@pytest.mark.parametrize("name", ["scores.csv", "scores.json", "groups.csv", "samples.png"])
def test_evaluate_refuses_before_it_scores(tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text(FOREIGN[name], encoding="utf-8")

    with pytest.raises(OutputError, match=rf"{name} is there already and volseg did not write it"):
        evaluate(tmp_path / "none", tmp_path / "none", tmp_path / "out")


def test_evaluate_does_not_replace_the_scores_of_a_run(tmp_path, experiment):
    run_in(Path("r"), finished=True)

    with pytest.raises(OutputError, match="r holds a run, whose scores would be replaced"):
        evaluate(tmp_path, tmp_path, Path("r"))


@pytest.mark.parametrize("words", [["evaluate", "a", "b"], ["compare", "a", "b"]])
def test_a_folder_is_not_named_like_a_file(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)

    done = CliRunner().invoke(app, [*words, "-o", "scores.csv"])

    assert done.exit_code == 2
    assert "scores.csv is named like a file, but a folder is expected; choose" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_folds_do_not_replace_a_config_of_the_user(experiment):
    Path("exp").mkdir()
    shutil.copy("small.yaml", "exp/config.yaml")
    before = contents(Path("exp"))

    done = CliRunner().invoke(app, ["fit", "exp/config.yaml", "-o", "exp", "--folds", "all"])

    assert done.exit_code == 2
    assert "config.yaml is there already and volseg did not write it" in done.stderr
    assert contents(Path("exp")) == before


def test_masks_replace_masks_and_what_is_hidden_among_them_stays(tmp_path):
    import numpy as np

    label_map = np.zeros((4, 3, 2), np.uint8)
    images = [tmp_path / "1.png", tmp_path / "2.png"]
    folder = tmp_path / "results" / "p1"
    write_masks(folder, label_map, images, binary=True)
    (folder / ".DS_Store").write_text("of a file browser")

    write_masks(folder, label_map + 1, images, binary=True)

    assert sorted(path.name for path in folder.iterdir()) == [".DS_Store", "1.png", "2.png"]
    assert [path.name for path in folder.parent.iterdir()] == ["p1"]
    linked = tmp_path / "results" / "p2"
    linked.symlink_to(folder)
    with pytest.raises(OutputError, match="p2 is a link, which is not replaced"):
        write_masks(linked, label_map, images, binary=True)


# What killed commands leave


def test_unfinished_files_of_the_same_name_go_and_others_stay(tmp_path):
    for name in (
        ".volseg-0123abcd-scores.json",
        ".volseg-0123abcd-notes.txt",
        ".0123abcd-scores.json",
        ".scores.json",
        ".git-scores.json",
    ):
        (tmp_path / name).write_text("half")

    make_output(tmp_path, ["scores.json"])

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(
            ".0123abcd-scores.json",
            ".git-scores.json",
            ".scores.json",
            ".volseg-0123abcd-notes.txt",
        ),
    ]


def test_unfinished_files_of_a_command_that_runs_stay(tmp_path):
    with atomic_write(tmp_path / "scores.json") as temporary:
        temporary.write_text('{"volseg": "x"}')

        make_output(tmp_path, ["scores.json"])

        assert temporary.is_file()
    assert json.loads((tmp_path / "scores.json").read_text()) == {"volseg": "x"}


# One place


def test_nothing_else_replaces_or_removes_files():
    """What does says which of its own files it may take, and why."""
    allowed = {
        "files/writing.py",  # the one place
        "conversion/single_conversion.py",  # its own lock
        "images/slice_masks.py",  # folders of masks, which their own names tell
        "training/cache/cases.py",  # entries, which a digest in their names tells
        "runs/folder.py",  # logs for TensorBoard, which the ending of their names tells
        "training/checkpoints.py",  # which `is_checkpoint` tells
        "results/journal.py",  # what its manifest holds
        "training/trial.py",  # a temporary folder
        "results/manifest_file.py",  # results and manifests, which records tell
        "inference/result_writer.py",  # folders that are empty, since no other can be removed so
    }
    pattern = re.compile(
        r"\.(unlink|rmdir)\(|rmtree|\.rename\(|\.replace\(\w+\)|os\.(remove|replace|rename)"
    )
    package = Path(__file__).parents[1] / "volseg"

    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if pattern.search(path.read_text("utf-8"))
    }

    assert found <= allowed
