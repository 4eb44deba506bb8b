"""What the Lightning trainer is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from experiments import write_small_config

from volseg.config import load_config
from volseg.training.epoch_log import EpochLog
from volseg.training.trainer import build_trainer


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Arguments of the trainer of a config with these options of `training`."""

    def arguments(**options: object) -> dict[str, object]:
        found: dict[str, object] = {}

        class Told(pl.Trainer):
            def __init__(self, **words: object) -> None:
                found.update(words)
                super().__init__(default_root_dir=tmp_path, accelerator="cpu", logger=False)

        monkeypatch.setattr(pl, "Trainer", Told)
        path = write_small_config(tmp_path / "small.yaml", tmp_path, training=options)
        build_trainer(load_config(path), tmp_path / "run", validate=True, started=0)
        return found

    return arguments


def test_algorithms_are_tried_on_a_gpu_alone(told, monkeypatch):
    assert told(accelerator="auto")["benchmark"] is torch.cuda.is_available()

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert told(accelerator="auto")["benchmark"] is True
    assert told(accelerator="cpu")["benchmark"] is False


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_that_a_cpu_has_not_is_said(told, caplog, precision):
    assert told(precision=precision, accelerator="cpu")["precision"] == "32-true"

    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [
        f"training.precision={precision}: mixed precision is for a CUDA GPU, so float32 is used"
    ]


@pytest.mark.parametrize("precision", ["auto", "32"])
def test_float32_that_was_asked_for_is_not_remarked(told, caplog, precision):
    assert told(precision=precision, accelerator="cpu")["precision"] == "32-true"
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("max_time", "stopped", "said"),
    [
        (None, False, "; about 30 s left"),
        ("00:00:25", False, "; about 15 s left"),
        ("00:00:05", False, "; about 0 s left"),
        (None, True, ""),
    ],
)
def test_the_time_left_ends_at_max_time_and_is_not_said_at_the_end_of_training(
    tmp_path, monkeypatch, max_time, stopped, said
):
    limit = {} if max_time is None else {"max_time": max_time}
    path = write_small_config(tmp_path / "small.yaml", tmp_path, training=limit)
    log = EpochLog(tmp_path / "metrics.csv", load_config(path), started=0.0)
    log.start, log.first_step = 0.0, 0
    # The first of four epochs took 10 s.
    monkeypatch.setattr("volseg.training.epoch_log.time", SimpleNamespace(monotonic=lambda: 10.0))
    trainer = SimpleNamespace(
        current_epoch=0, max_epochs=4, global_step=5, num_training_batches=5, should_stop=stopped
    )

    assert log._line(trainer, {"train/loss": "0.5"}) == f"epoch 1 of 4: loss 0.5000{said}"
