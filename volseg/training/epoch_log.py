"""The epochs of a run as rows of `metrics.csv` and lines of the log."""

from __future__ import annotations

import csv
import logging
import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from volseg.config import ExperimentConfig
from volseg.files.writing import atomic_write
from volseg.progress import clock
from volseg.runs.metrics_table import BEST_SCORE, number_in_table, read_metrics
from volseg.training.module import SCORES, SLICE_SCORES, TRAINING_SCORES

logger = logging.getLogger(__name__)


class EpochLog(Callback):
    """A row of `metrics.csv` and a line of the log for each epoch.

    Args:
        path: The `metrics.csv` of the run.
        config: The experiment.
        started: Reading of `time.monotonic` from which `training.max_time` counts.
    """

    def __init__(self, path: Path, config: ExperimentConfig, started: float) -> None:
        self.path = path
        limit = config.training.max_time
        self.end = math.inf if limit is None else started + limit
        regions = (*config.labels.regions, "mean")
        scores = (*SCORES, *(SLICE_SCORES if config.by_slice else ()))
        self.columns = [
            *("epoch", "step", "seconds", "learning_rate", "train/loss"),
            *("train/patches_per_second", "train/data_wait_share", "val/loss"),
            *(f"train/{score}/{region}" for score in TRAINING_SCORES for region in regions),
            *(f"val/{score}/{region}" for score in scores for region in regions),
        ]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start, self.first_step, self.before = time.monotonic(), trainer.global_step, 0.0
        if not trainer.is_global_zero:
            return
        # Rows of epochs that are repeated after a resume are dropped.
        rows = read_metrics(self.path)
        kept = [row for row in rows if int(row["epoch"]) <= trainer.current_epoch]
        self.before = float(kept[-1].get("seconds") or 0) if kept else 0.0
        self._write(kept)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        validated = trainer.current_epoch in self._validated
        row: dict[str, Any] = {
            name: number_in_table(metrics[name])
            for name in self.columns
            if name in metrics and (validated or not name.startswith("val/"))
        }
        row["train/loss"] = number_in_table(metrics["train/loss_epoch"])
        row["learning_rate"] = number_in_table(trainer.optimizers[0].param_groups[0]["lr"])
        row["epoch"] = trainer.current_epoch + 1
        row["step"] = trainer.global_step
        row["seconds"] = f"{self.before + time.monotonic() - self.start:.1f}"
        self._write([*read_metrics(self.path), row])
        logger.info("%s", self._line(trainer, row))

    def _write(self, rows: list[dict[str, Any]]) -> None:
        with (
            atomic_write(self.path) as unfinished,
            unfinished.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)

    _validated: frozenset[int] = frozenset()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated |= {trainer.current_epoch}

    def _line(self, trainer: pl.Trainer, row: dict[str, Any]) -> str:
        done = trainer.current_epoch + 1
        total = trainer.max_epochs or done
        steps = max(1, trainer.global_step - self.first_step)
        now = time.monotonic()
        each = (now - self.start) / steps * int(trainer.num_training_batches)
        left = max(0.0, min(each * (total - done), self.end - now))
        # Dice of the validation cases; without a validation, Dice of the patches trained on.
        words, kind = ("Dice", "val") if BEST_SCORE in row else ("Dice of patches", "train")
        scores = ", ".join(
            f"{name.rpartition('/')[2]} {float(row[name]):.3f}"
            for name in self.columns
            if name.startswith(f"{kind}/dice/") and name in row
        )
        return (
            f"epoch {done} of {total}: loss {float(row['train/loss']):.4f}"
            + (f"; {words} {scores}" if scores else "")
            + ("" if trainer.should_stop else f"; about {clock(left)} left")
        )
