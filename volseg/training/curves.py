"""Curves of a run, drawn from its `metrics.csv`."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from volseg.figures.curves import curves
from volseg.figures.figure_files import optional_picture, save_figure
from volseg.files.writing import CURVES_FILE, METRICS_FILE
from volseg.runs.metrics_table import kept_epoch, read_metrics


class Curves(Callback):
    """Draws the curves of the run after each validation; must follow `EpochLog`."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.validated = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.validated and trainer.is_global_zero:
            draw_curves(self.run)
        self.validated = False


def draw_curves(run: Path) -> None:
    """Draw `curves.png` of a run folder; a failure is logged and does not stop the training."""
    with optional_picture(run / CURVES_FILE):
        rows = read_metrics(run / METRICS_FILE)
        if rows:
            save_figure(curves(rows, run.resolve().name, kept_epoch(rows)), run / CURVES_FILE)
