"""Callbacks of a training: speed, scores of patches, moving average, the best model."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from volseg.compat.lightning import data_of, ends_epoch
from volseg.confidence.training_profile import TrainingProfile
from volseg.config import ExperimentConfig
from volseg.files.writing import MODEL_FILE, atomic_write
from volseg.metrics import ScoreRecord, get_score
from volseg.metrics.doubts import doubts
from volseg.metrics.record import SCORE_FILES
from volseg.model_file import save_model
from volseg.runs.metrics_table import BEST_SCORE, LOSS, standing
from volseg.training.checkpoint_contents import KEPT_FILES
from volseg.training.datamodule import TrainingLoader
from volseg.training.module import TRAINING_SCORES, SegmentationModule
from volseg.training.stopping import in_last_epoch

logger = logging.getLogger(__name__)

# Standing before the first validation; every validated model is better.
_NONE = (-1.0, -math.inf)


class Throughput(Callback):
    """Logs patches per second and the share of time in which training waits for data."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # The epoch in which a run is resumed has begun already.
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = self.end = time.perf_counter()
        self.waited = _loader(trainer).waited
        self.batches = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        self.batches += 1
        self.end = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.batches:
            return
        seconds = self.end - self.start
        patches = self.batches * self.batch_size * trainer.world_size
        pl_module.log("train/patches_per_second", patches / seconds)
        share = (_loader(trainer).waited - self.waited) / seconds
        pl_module.log("train/data_wait_share", min(share, 1.0))


def _loader(trainer: pl.Trainer) -> TrainingLoader:
    loader = trainer.train_dataloader
    assert isinstance(loader, TrainingLoader)
    return loader


class TrainingScores(Callback):
    """Logs loss, Dice and IoU of the patches of each epoch; see `EpochSums`."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        _segmentation(pl_module).sums.clear()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        module = _segmentation(pl_module)
        sums = module.sums.of_all_ranks(trainer.strategy)
        module.log("train/loss_epoch", sums.loss)
        for name in TRAINING_SCORES:
            module.log_by_region(f"train/{name}", sums.scores(get_score(name)))


def _segmentation(module: pl.LightningModule) -> SegmentationModule:
    assert isinstance(module, SegmentationModule)
    return module


class MovingAverage(Callback):
    """Averages the weights after each step, before anything saves them."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        _segmentation(pl_module).move_average()


class ValidateLast(Callback):
    """Validates the last epoch whatever `validate_every` is, so that its model can be the best."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        if in_last_epoch(trainer):
            trainer.check_val_every_n_epoch = 1


class KeepBestModel(Callback):
    """Writes the model file and its scores at each best validation; at the end without validation.

    Args:
        run: Folder of the run.
        config: The experiment.
    """

    def __init__(self, run: Path, config: ExperimentConfig) -> None:
        self.run = run
        self.config = config
        self.best = _NONE

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best[0], "loss": -self.best[1]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Checkpoints of the first versions lack the loss.
        self.best = state_dict["best"], -state_dict.get("loss", -math.inf)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        found = trainer.callback_metrics
        if BEST_SCORE not in found:
            return
        score = standing(float(found[BEST_SCORE]), float(found[LOSS]))
        if score <= self.best:
            return
        self.best = score
        if trainer.is_global_zero:
            self._write_model(trainer, _segmentation(pl_module))
            self._write_scores(trainer, _segmentation(pl_module))

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        is_cut = not ends_epoch(trainer)
        if trainer.should_stop and is_cut and trainer.is_global_zero:
            # The validation of an epoch cut short may replace these files. A resumed run restores
            # them, so that it ends like a run that was never stopped.
            checkpoint[KEPT_FILES] = {
                name: torch.frombuffer(bytearray((self.run / name).read_bytes()), dtype=torch.uint8)
                for name in (MODEL_FILE, *SCORE_FILES)
                if (self.run / name).is_file()
            }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.is_global_zero:
            for name, content in checkpoint.get(KEPT_FILES, {}).items():
                with atomic_write(self.run / name) as temporary:
                    temporary.write_bytes(content.numpy().tobytes())

    # Before the last checkpoint: a run killed after that checkpoint has nothing left to do.
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.best == _NONE and trainer.is_global_zero and in_last_epoch(trainer):
            self._write_model(trainer, _segmentation(pl_module))

    def _write_model(self, trainer: pl.Trainer, module: SegmentationModule) -> None:
        scores: dict[str, Any] = {
            name.removeprefix("val/"): round(float(value), 6)
            for name, value in trainer.callback_metrics.items()
            # JSON has no numbers that are not finite.
            if name.startswith("val/") and math.isfinite(value)
        }
        scores |= {"epoch": trainer.current_epoch + 1, "cases": len(module.table.cases("scored"))}
        # A mean counts cases without a region as 1, and hides that the region was never found.
        if said := doubts(module.table):
            scores["doubts"] = list(said)
        state = module.best_network.state_dict()
        profile = TrainingProfile.of([one.profile for one in data_of(trainer).training])
        save_model(self.run / MODEL_FILE, state, self.config, scores, profile.to_dict())

    def _write_scores(self, trainer: pl.Trainer, module: SegmentationModule) -> None:
        """Write the score files of `evaluate`, with network, epoch and loss of each case."""
        data = data_of(trainer)
        about = {
            "network": self.config.network.name,
            "epoch": trainer.current_epoch + 1,
            "losses": {c: x if math.isfinite(x) else None for c, x in module.losses.items()},
        }
        patients = {c.case.case_id: c.case.patient_id for c in data.validation}
        record = ScoreRecord(
            replace(module.table, patients=patients),
            module.slices,
            groups={c.case.case_id: c.case.groups for c in data.validation if c.case.groups},
            missing_channels={c.case.case_id: c.missing for c in data.validation if c.missing},
        )
        record.write(self.run, about)
