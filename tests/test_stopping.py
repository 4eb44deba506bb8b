"""A run that is stopped by signals ends as one that was never stopped."""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import signal
from multiprocessing.synchronize import SemLock
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from experiments import write_small_config
from safetensors.torch import load_file

from volseg import signals
from volseg.config import ExperimentConfig, load_config
from volseg.errors import ResourceError
from volseg.metrics import ScoreTable
from volseg.model_file import load_model
from volseg.runs.checkpoint_files import find_checkpoints
from volseg.runs.metrics_table import read_metrics
from volseg.tasks.compare import compare
from volseg.tasks.fit import fit
from volseg.training import datamodule
from volseg.training.datamodule import TrainingLoader, VolumeDataModule
from volseg.training.module import SegmentationModule

STEPS, EPOCHS = 3, 3
# As torch does it, from Python 3.12 on.
FORKING = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
TIMES = {"seconds", "train/patches_per_second", "train/data_wait_share"}


@pytest.fixture(scope="module")
def experiment(cohort: Path, tmp_path_factory) -> ExperimentConfig:
    """Epochs of three batches; the second and the third epoch are validated, on two cases."""
    folder = tmp_path_factory.mktemp("stopping")
    path = write_small_config(
        folder / "config.yaml",
        cohort / "list.json",
        data={"batches_per_epoch": STEPS, "cache_dir": str(folder / "cache")},
        network={"dropout": 0.2},
        training={"max_epochs": EPOCHS, "validate_every": 2, "ema": 0.9},
    )
    return load_config(path)


def changed(config: ExperimentConfig, **sections: dict) -> ExperimentConfig:
    options = config.to_dict()
    return ExperimentConfig.from_dict(
        options | {section: options[section] | values for section, values in sections.items()}
    )


@pytest.fixture(scope="module", autouse=True)
def _without_pictures():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("tasks.fit.report_scores", "tasks.fit.draw_curves"):
            patch.setattr(f"volseg.{name}", lambda *_, **__: None)
        patch.setattr("volseg.training.curves.draw_curves", lambda *_: None)
        patch.setattr(SegmentationModule, "_draw", lambda *_: None)
        yield


@pytest.fixture(autouse=True)
def held():
    signals.record()
    yield
    signals.reset()


@pytest.fixture(scope="module")
def undisturbed(experiment, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    fit(experiment, run)
    return run


def signal_in(monkeypatch, owner: type, method: str, at: set[int]) -> None:
    """Send this process a signal in the calls of these numbers of a method."""
    original = getattr(owner, method)
    calls = []

    def noted(self, *arguments):
        calls.append(1)
        if len(calls) in at:
            os.kill(os.getpid(), signal.SIGTERM if len(calls) % 2 else signal.SIGUSR1)
        return original(self, *arguments)

    monkeypatch.setattr(owner, method, noted)


def finish(experiment: ExperimentConfig, run: Path) -> list[int]:
    """Train to the end; returns the step of each stop."""
    stops: list[int] = []
    while True:
        try:
            fit(experiment, run, resume=bool(stops))
        except signals.Stopped:
            stops.append(torch.load(find_checkpoints(run)[0], weights_only=True)["global_step"])
            signals.reset()
            signals.record()
        else:
            return stops


def table(run: Path) -> list[dict[str, str]]:
    return [
        {name: value for name, value in row.items() if name not in TIMES}
        for row in read_metrics(run / "metrics.csv")
    ]


def assert_same(run: Path, other: Path) -> None:
    assert table(run) == table(other)
    tensors, others = (load_file(folder / "model.safetensors") for folder in (run, other))
    assert all(torch.equal(tensors[key], others[key]) for key in others)
    last, other_last = (
        torch.load(find_checkpoints(folder)[0], weights_only=True) for folder in (run, other)
    )
    assert last["global_step"] == other_last["global_step"] == STEPS * EPOCHS
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch_sums"):
        assert str(last[key]) == str(other_last[key])


def test_a_run_stopped_in_every_batch_ends_as_one_that_was_not(
    experiment, undisturbed, tmp_path, monkeypatch
):
    every = set(range(1, STEPS * EPOCHS + 1))
    signal_in(monkeypatch, SegmentationModule, "training_step", every)

    stops = finish(experiment, tmp_path / "run")

    # After the last batch of the first epoch nothing is validated, and the next batch stops it;
    # that of the others stops when the validation begins.
    assert stops == [1, 2, 4, 5, 6, 7, 8, 9]
    assert_same(tmp_path / "run", undisturbed)
    seconds = [float(row["seconds"]) for row in read_metrics(tmp_path / "run" / "metrics.csv")]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize(
    ("method", "at", "stops"),
    [
        # The first of two cases, and the second one of the last validation, where three and four
        # were those of the first validation again.
        ("validation_step", {1, 6}, [6, 9]),
        # All is known of these validations: the next batch is the place to stop, if there is one.
        ("on_validation_epoch_end", {1, 2}, [7]),
    ],
)
def test_a_run_stopped_in_a_validation_ends_as_one_that_was_not(
    experiment, undisturbed, tmp_path, monkeypatch, method, at, stops
):
    signal_in(monkeypatch, SegmentationModule, method, at)

    assert finish(experiment, tmp_path / "run") == stops

    assert_same(tmp_path / "run", undisturbed)


def test_no_other_handler_comes_in_the_place_of_the_one_that_only_notes(
    experiment, tmp_path, monkeypatch
):
    handlers = []
    original = VolumeDataModule.train_dataloader

    # The first that Lightning does after it would set its own.
    def noted(self):
        handlers.extend(signal.getsignal(number) for number in signals.STOPPING)
        os.kill(os.getpid(), signal.SIGTERM)
        return original(self)

    monkeypatch.setattr(VolumeDataModule, "train_dataloader", noted)
    with pytest.raises(
        signals.Stopped, match=r"after 1 steps; resume with: volseg fit --resume .*/run$"
    ):
        fit(experiment, tmp_path / "run")

    assert handlers == [signals._record] * 3


def test_epochs_of_one_batch_without_validation_can_be_stopped(experiment, tmp_path, monkeypatch):
    config = changed(
        experiment, data={"batches_per_epoch": 1, "fold": None}, training={"max_epochs": 3}
    )
    fit(config, tmp_path / "whole")
    signal_in(monkeypatch, SegmentationModule, "training_step", {1, 2, 3})

    assert finish(config, tmp_path / "run") == [1, 2]

    assert [row["epoch"] for row in read_metrics(tmp_path / "run" / "metrics.csv")] == list("123")
    model, whole = (load_file(tmp_path / name / "model.safetensors") for name in ("run", "whole"))
    assert all(torch.equal(model[key], whole[key]) for key in whole)


def test_a_run_killed_behind_its_last_checkpoint_has_a_model(experiment, tmp_path, monkeypatch):
    config = changed(experiment, data={"fold": None}, training={"max_epochs": 1})
    killed = RuntimeError("killed")

    def kill(*_):
        raise killed

    monkeypatch.setattr(SegmentationModule, "on_train_end", kill)
    with pytest.raises(RuntimeError, match="killed"):
        fit(config, tmp_path / "run")

    result = fit(config, tmp_path / "run", resume=True)

    assert load_model(result.model).scores["epoch"] == 1


@pytest.fixture
def clock(monkeypatch):
    """Readings of the clock that limits of time look at: `clock["now"]`; a case takes no time."""
    readings = {"now": 0.0}
    stand_in = SimpleNamespace(monotonic=lambda: readings["now"])
    monkeypatch.setattr("volseg.training.limits.time", stand_in)
    monkeypatch.setattr("volseg.tasks.fit.time", stand_in)
    monkeypatch.setattr(SegmentationModule, "seconds_of_case", lambda *_: 0.0)
    return readings


def at_call(monkeypatch, method: str, number: int, act) -> None:
    """Act at one call of a method of the module."""
    original, calls = getattr(SegmentationModule, method), itertools.count(1)

    def watched(self, *arguments):
        if next(calls) == number:
            act()
        return original(self, *arguments)

    monkeypatch.setattr(SegmentationModule, method, watched)


@pytest.mark.parametrize("step", [1, 4, 8])
def test_an_epoch_cut_short_by_max_time_is_validated_and_resumed_as_if_it_never_was(
    experiment, undisturbed, tmp_path, monkeypatch, clock, step
):
    run, model = tmp_path / "run", tmp_path / "run" / "model.safetensors"
    limited = changed(experiment, training={"max_time": 100})
    before = []

    def late():
        clock["now"] = 95
        before.append(model.read_bytes() if model.exists() else None)

    with monkeypatch.context() as patch:
        at_call(patch, "training_step", step, late)
        result = fit(limited, run)

    last = read_metrics(run / "metrics.csv")[-1]
    assert (last["step"], bool(last["val/dice/WT"])) == (str(step), True)
    assert load_model(result.model).scores["cases"] == 2
    other = model.read_bytes() + b"!"
    model.write_bytes(other)
    clock["now"] = 0
    with monkeypatch.context() as patch:
        signal_in(patch, SegmentationModule, "training_step", {1})
        with pytest.raises(signals.Stopped):
            fit(limited, run, resume=True)
    assert model.read_bytes() == (before[0] or other)
    signals.reset()
    fit(limited, run, resume=True)

    assert_same(run, undisturbed)


@pytest.mark.parametrize("method", ["training_step", "validation_step"])
def test_a_run_stopped_at_its_limit_of_time_goes_on(
    experiment, undisturbed, tmp_path, monkeypatch, method, clock
):
    short, long = (changed(experiment, training={"max_time": time}) for time in (1, 100))

    with monkeypatch.context() as patch:
        signal_in(patch, SegmentationModule, method, {1})
        with pytest.raises(signals.Stopped, match="after 1 steps"):
            fit(short, tmp_path / "run")
    signals.reset()
    fit(long, tmp_path / "run", resume=True)

    assert_same(tmp_path / "run", undisturbed)


def test_where_max_time_is_near_after_a_validation_there_is_no_other_batch(
    experiment, tmp_path, monkeypatch, clock
):
    def slow():
        clock["now"] = 40  # and 1.2 x (1 + 2 samples of 2 cases) x 40 s for another one

    at_call(monkeypatch, "validation_step", 1, slow)
    fit(changed(experiment, training={"max_time": 100, "max_epochs": 9}), tmp_path / "run")

    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert [(row["step"], bool(row["val/dice/WT"])) for row in rows] == [("3", False), ("6", True)]
    (newest, _) = find_checkpoints(tmp_path / "run")
    assert newest.name == "step-00000006.ckpt"


def test_a_validation_that_leaves_no_time_to_train_is_known_before_the_first_batch(
    experiment, tmp_path, monkeypatch, clock
):
    # 1.2 x (1 + 2 samples of 2 cases) x 2 cases x 20 s, where the first call takes longer.
    seconds = iter([50.0, 20.0])
    monkeypatch.setattr(SegmentationModule, "seconds_of_case", lambda *_: next(seconds))

    fit(changed(experiment, training={"max_time": 105}), tmp_path / "run")

    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert [(row["step"], bool(row["val/dice/WT"])) for row in rows] == [("1", True)]


def test_early_stopping_that_is_changed_on_resume_is_kept_to(experiment, tmp_path, monkeypatch):
    # No validation is better than the first.
    monkeypatch.setattr(ScoreTable, "means", lambda *_: {"WT": 0.5})
    config = changed(experiment, training={"max_epochs": 9, "validate_every": 1})
    epochs = []
    for patience in (1, 1, 3, 2, None):
        limited = changed(config, training={"early_stopping": patience})
        if patience is None:
            signal_in(monkeypatch, SegmentationModule, "training_step", {2})
            with pytest.raises(signals.Stopped):
                fit(limited, tmp_path / "run", resume=True)
        else:
            fit(limited, tmp_path / "run", resume=bool(epochs))
        epochs.append(len(read_metrics(tmp_path / "run" / "metrics.csv")))

    assert epochs == [2, 2, 4, 4, 4]


def test_a_stop_ends_a_comparison_and_not_one_training_of_it(experiment, tmp_path, monkeypatch):
    sources = []
    for name in ("first", "second"):
        sources.append(tmp_path / f"{name}.yaml")
        sources[-1].write_text((Path(experiment.data.cache_dir).parent / "config.yaml").read_text())
    signal_in(monkeypatch, SegmentationModule, "training_step", {2})

    with pytest.raises(signals.Stopped):
        compare(sources, tmp_path / "out")

    assert [path.name for path in (tmp_path / "out" / "runs").iterdir()] == ["first"]


@FORKING
def test_no_loader_process_is_left_behind_by_a_stop_in_a_validation(
    experiment, tmp_path, monkeypatch
):
    signal_in(monkeypatch, SegmentationModule, "validation_step", {1})

    with pytest.raises(signals.Stopped):
        fit(changed(experiment, data={"workers": 1}), tmp_path / "run")

    # Python would wait for it, for ever.
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("made", [0, 4, 9])
def test_without_room_for_locks_loader_processes_are_refused_in_words_alone(monkeypatch, made):
    # As many locks as there is room for; the rest of the iterator is never made.
    begin = SemLock.__init__

    def with_little_room(lock, *arguments, **options):
        nonlocal made
        made -= 1
        if made < 0:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        begin(lock, *arguments, **options)

    monkeypatch.setattr(SemLock, "__init__", with_little_room)
    loader = TrainingLoader([1, 2], num_workers=1, worker_init_fn=datamodule._end_with_parent)

    # What torch would say of the rest is an error of its own here.
    with pytest.raises(ResourceError, match=r"\(Read-only file system\); set data.workers=0, or"):
        next(iter(loader))

    assert multiprocessing.active_children() == []


@FORKING
def test_a_signal_to_a_loader_process_does_not_end_it(monkeypatch):
    ignore = signals.ignore

    def signalled():
        # In the process, before it has come to ignoring.
        os.kill(os.getpid(), signal.SIGTERM)
        ignore()
        os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(signals, "ignore", signalled)
    loader = TrainingLoader([1, 2], num_workers=1, worker_init_fn=datamodule._end_with_parent)

    assert [int(batch) for batch in loader] == [1, 2]
    assert signals.received() is None
