"""End of a training whose loss or weights are no longer finite; the last good model is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from volseg.errors import TrainingError
from volseg.files.writing import METRICS_FILE, MODEL_FILE
from volseg.runs.metrics_table import best_row, read_metrics
from volseg.training.agreement import on_any_rank
from volseg.training.hardware import resolve_precision
from volseg.training.module import SegmentationModule

# Batches between two checks of the loss.
_BATCHES = 50


class StopNotFinite(Callback):
    """Ends a training with numbers that are not finite, before its weights are used or saved.

    Must precede all callbacks that validate, write or save. Steps that 16-bit mixed precision skips
    because of too large gradients do not end a training.
    """

    def __init__(self, run: Path) -> None:
        self.run = run

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *arguments: Any
    ) -> None:
        # An epoch may last hours, and a check of every batch would make the processor wait.
        batch_index = arguments[-1]
        if (batch_index + 1) % _BATCHES == 0:
            module: Any = pl_module
            self._refuse(_of_loss(module), trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.check(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.check(trainer)

    def check(self, trainer: pl.Trainer) -> None:
        """Raise TrainingError if a number is not finite; all ranks call this together."""
        module: Any = trainer.lightning_module
        self._refuse(_problem(module), trainer)

    def _refuse(self, problem: str | None, trainer: pl.Trainer) -> None:
        module: Any = trainer.lightning_module
        if on_any_rank(problem is not None):
            raise TrainingError(
                f"{problem or 'the training loss of another rank is not finite'} in epoch "
                f"{trainer.current_epoch + 1}, so the network cannot learn any more and the "
                f"training ends here, {_kept(self.run)}",
                remedy="start a new run with a lower training.learning_rate than "
                f"{module.config.training.learning_rate:g}{_or_float32(module)}",
            )


def all_finite(tensors: Mapping[str, Any]) -> bool:
    """Whether all numbers of a state are finite."""
    found = (x for x in tensors.values() if torch.is_tensor(x) and x.is_floating_point())
    return all(bool(torch.isfinite(tensor).all()) for tensor in found)


def _of_loss(module: SegmentationModule) -> str | None:
    loss = float(module.sums.losses[0])
    return None if math.isfinite(loss) else f"the training loss is {loss}"


def _problem(module: SegmentationModule) -> str | None:
    if problem := _of_loss(module):
        return problem
    return None if all_finite(module.state_dict()) else "weights of the network are not finite"


def _kept(run: Path) -> str:
    row = best_row(read_metrics(run / METRICS_FILE))
    if not (run / MODEL_FILE).is_file():
        return "without a model"
    of_epoch = f"of epoch {row['epoch']} " if row else ""
    return f"and the last good model {of_epoch}is {run / MODEL_FILE}"


def _or_float32(module: SegmentationModule) -> str:
    mixed = resolve_precision(module.config.training) != "32-true"
    return " or with training.precision=32" if mixed else ""
