"""`fit --folds` without a cluster: one fold after another, each a process of its own."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from experiments import change_cases, checkpoint_in, run_in
from typer.testing import CliRunner

from volseg import cli
from volseg.config import load_config
from volseg.errors import DataListError, OutputError
from volseg.runs.folds import FoldsResult, fit_folds
from volseg.slurm.submission import submit_fit


@pytest.fixture
def program(tmp_path):
    """Makes a stand-in for volseg that notes its words and acts by the fold, `$fold`."""

    def make(acts):
        path = tmp_path / "volseg.sh"
        note = f'echo "$*" >>{shlex.quote(str(tmp_path / "calls"))}\nfold=${{3#data.fold=}}\n'
        path.write_text(f"#!/bin/bash\n{note}{acts}\n")
        return ["bash", str(path)]

    return make


def test_folds_are_trained_one_after_another(experiment, program):
    run_in(Path("r/fold2"), 2)
    acts = "exit $((fold == 0 ? 2 : fold == 1 ? 3 : 0))"

    result = fit_folds(
        load_config(experiment), Path("r"), "all", resume=True, program=program(acts)
    )

    assert Path("calls").read_text().splitlines() == [
        "fit r/config.yaml data.fold=0 -o r/fold0",
        "fit r/config.yaml data.fold=1 -o r/fold1",
        "fit r/config.yaml data.fold=2 -o r/fold2 --resume",
    ]
    assert result.done == (Path("r/fold1"), Path("r/fold2"))
    assert [name for name, _ in result.failures] == ["fold0", "fold1"]
    assert result.failures[0][1].startswith("ended with code 2")
    assert result.failures[1][1].startswith("cases were left out")
    assert load_config(Path("r/config.yaml")) == load_config(experiment)


def test_finished_folds_are_kept(experiment, program):
    finished = Path("r/fold0")
    run_in(finished, 0, finished=True)

    result = fit_folds(
        load_config(experiment), Path("r"), "0,1", resume=True, program=program("exit 0")
    )

    assert (result.kept, result.done) == ((finished,), (Path("r/fold1"),))
    assert len(Path("calls").read_text().splitlines()) == 1


def test_folds_of_a_list_without_any_are_refused(experiment):
    change_cases(fold=None)

    with pytest.raises(DataListError, match="'list' has no folds; make it with volseg split"):
        fit_folds(load_config(experiment), Path("r"), "all")


def test_a_single_fold_leaves_nothing_to_train_on(experiment):
    change_cases(fold=0)

    with pytest.raises(DataListError, match="fold 0 of data list 'list' leaves no case to train"):
        submit_fit(load_config(experiment), Path("r"), dry_run=True)


@pytest.mark.parametrize("code", [75, 130])
def test_a_stopped_fold_ends_them_all(experiment, program, code):
    result = fit_folds(load_config(experiment), Path("r"), "0,1,2", program=program(f"exit {code}"))

    assert (result.stopped, result.done) == (code, ())
    assert len(Path("calls").read_text().splitlines()) == 1


STOP = "kill -TERM $PPID\nfor ((i = 0; i < 600; i++)); do sleep 0.05; done"


# With a trap the fold ends in good order, without one at once, and a third is just done.
@pytest.mark.parametrize(
    ("acts", "done"),
    [
        (f"trap 'exit 75' TERM\n{STOP}", ()),
        (STOP, ()),
        (f"trap 'exit 0' TERM\n{STOP}", (Path("r/fold0"),)),
    ],
)
def test_a_signal_is_passed_on_and_ends_all_folds(experiment, program, acts, done):
    result = fit_folds(load_config(experiment), Path("r"), "all", program=program(acts))

    assert (result.stopped, result.done, result.failures) == (75, done, ())
    assert len(Path("calls").read_text().splitlines()) == 1


# Whether the terminal told the fold as well, or somebody this process alone.
@pytest.mark.parametrize("also", ["", "kill -INT $$; "])
def test_ctrl_c_ends_all_folds_and_tells_each_once(experiment, program, also):
    acts = f"trap 'exit 75' TERM; trap '' INT\n{also}{STOP.replace('TERM', 'INT')}"

    result = fit_folds(load_config(experiment), Path("r"), "all", program=program(acts))

    assert (result.stopped, result.done, result.failures) == (130, (), ())
    assert len(Path("calls").read_text().splitlines()) == 1


@pytest.mark.parametrize(("stopped", "code"), [(None, 3), (75, 75)])
def test_fit_of_folds_tells_what_became_of_each(experiment, monkeypatch, stopped, code):
    result = FoldsResult((Path("r/fold0"),), (), (("fold1", "ended with code 1"),), stopped)
    monkeypatch.setattr("volseg.runs.folds.fit_folds", lambda *_, **__: result)

    done = CliRunner().invoke(cli.app, ["fit", str(experiment), "-o", "r", "--folds", "0,1"])

    assert done.exit_code == code
    assert "Model: r/fold0/model.safetensors\n" in done.stdout
    assert "ended with code 1" in done.output


def test_a_folder_with_a_run_of_its_own_takes_no_folds(experiment):
    checkpoint_in(Path("r"))

    with pytest.raises(OutputError, match="r holds a run itself; choose another -o for the folds"):
        fit_folds(load_config(experiment), Path("r"), "all")
