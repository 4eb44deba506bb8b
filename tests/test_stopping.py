"""A run that is stopped by signals ends as one that was never stopped."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from volseg import signals
from volseg.config import ExperimentConfig, load_config
from volseg.tasks.fit import fit
from volseg.training.checkpoints import find_checkpoints
from volseg.training.epoch_log import read_metrics
from volseg.training.module import SegmentationModule

STEPS, EPOCHS = 3, 3
TIMES = {"seconds", "train/patches_per_second", "train/data_wait_share"}


@pytest.fixture(scope="module")
def experiment(cohort: Path, tmp_path_factory) -> ExperimentConfig:
    folder = tmp_path_factory.mktemp("stopping")
    path = folder / "config.yaml"
    path.write_text(
        f"""
labels: brats2023
data:
  data_list: {cohort / "list.json"}
  fold: 0
  spacing_mm: [4, 4, 4]
  patch_size: [16, 16, 16]
  batch_size: 2
  batches_per_epoch: {STEPS}
  workers: 0
  cache_dir: {folder / "cache"}
network: {{name: attention_unet, widths: [4, 8], dropout: 0.2}}
training: {{max_epochs: {EPOCHS}, validate_every: 2, ema: 0.9, accelerator: cpu}}
""",
        encoding="utf-8",
    )
    return load_config(path)


@pytest.fixture
def held():
    signals.hold()
    yield
    signals.forget()


@pytest.fixture(scope="module")
def undisturbed(experiment, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    fit(experiment, run)
    return run


def signalled(monkeypatch, method: str, at: int, number: signal.Signals = signal.SIGUSR1) -> None:
    """Send this process a signal in the call number `at` of a method of the module."""
    original = getattr(SegmentationModule, method)
    calls = []

    def noted(self, *arguments):
        calls.append(1)
        if len(calls) == at:
            os.kill(os.getpid(), number)
        return original(self, *arguments)

    monkeypatch.setattr(SegmentationModule, method, noted)


def finish(experiment: ExperimentConfig, run: Path, resume: bool = True) -> int:
    """Go on until the end; returns the number of stops."""
    stops = 0
    while True:
        try:
            fit(experiment, run, resume=resume)
        except signals.Stopped:
            stops += 1
            resume = True
            signals.forget()
            signals.hold()
        else:
            return stops


def table(run: Path) -> list[dict[str, str]]:
    return [
        {name: value for name, value in row.items() if name not in TIMES}
        for row in read_metrics(run / "metrics.csv")
    ]


def assert_same(run: Path, other: Path) -> None:
    assert table(run) == table(other)
    for name in ("model.safetensors",):
        tensors, others = load_file(run / name), load_file(other / name)
        assert all(torch.equal(tensors[key], others[key]) for key in others)
    last, other_last = (
        torch.load(find_checkpoints(folder)[0], weights_only=True) for folder in (run, other)
    )
    assert last["global_step"] == other_last["global_step"] == STEPS * EPOCHS
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch_sums"):
        assert str(last[key]) == str(other_last[key])


@pytest.mark.parametrize(
    ("method", "at"),
    [("training_step", k) for k in range(1, STEPS * EPOCHS + 1)]
    + [("validation_step", k) for k in range(1, 5)]
    + [("on_validation_epoch_end", k) for k in (1, 2)],
)
def test_stopped(experiment, undisturbed, tmp_path, monkeypatch, held, method, at):
    signalled(monkeypatch, method, at)

    stops = finish(experiment, tmp_path / "run", resume=False)

    assert stops == 1 or (method, at) in {("on_validation_epoch_end", 2)}
    assert_same(tmp_path / "run", undisturbed)
