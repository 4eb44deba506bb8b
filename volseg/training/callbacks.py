"""What happens besides training: speed, scores of patches, moving average, the best model."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from volseg.checkpoint import save_checkpoint
from volseg.config import ExperimentConfig
from volseg.files import MODEL_FILE
from volseg.metrics import ScoreRecord
from volseg.training.datamodule import TrainingLoader
from volseg.training.module import BEST_SCORE, TRAINING_SCORES, SegmentationModule
from volseg.training.stopping import in_last_epoch

logger = logging.getLogger(__name__)


class Throughput(Callback):
    """Logs patches a second and the share of the time that training waits for data."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # An epoch that a stopped run goes on with has begun already.
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
    loader: TrainingLoader = trainer.train_dataloader
    return loader


class TrainingScores(Callback):
    """Logs loss, Dice and IoU of the patches of each epoch; see `EpochSums`."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        _ours(pl_module).sums.clear()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        module = _ours(pl_module)
        sums = module.sums.of_all_ranks(trainer.strategy)
        module.log("train/loss_epoch", sums.loss)
        overlaps = sums.overlaps()
        for score in TRAINING_SCORES:
            values = {region: getattr(overlap, score) for region, overlap in overlaps.items()}
            module.log_by_region(f"train/{score}", values)


def _ours(module: pl.LightningModule) -> SegmentationModule:
    assert isinstance(module, SegmentationModule)
    return module


class MovingAverage(Callback):
    """Averages the weights after each step, before anything saves them."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        _ours(pl_module).move_average()


class ValidateLast(Callback):
    """Validates when training ends, whatever `validate_every` says: else its end is in vain."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        if in_last_epoch(trainer):
            trainer.check_val_every_n_epoch = 1


class KeepBestModel(Callback):
    """Writes the model file and its scores at each best validation; without any, at the end.

    Args:
        run: Folder of the run.
        config: The experiment.
    """

    def __init__(self, run: Path, config: ExperimentConfig) -> None:
        self.run = run
        self.config = config
        self.best = -1.0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        score = trainer.callback_metrics.get(BEST_SCORE)
        if trainer.sanity_checking or score is None or float(score) <= self.best:
            return
        self.best = float(score)
        if trainer.is_global_zero:
            self._write_model(trainer, _ours(pl_module))
            self._write_scores(trainer, _ours(pl_module))

    # Before the last checkpoint: a run that is killed behind that one has nothing more to do.
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.best < 0 and trainer.is_global_zero and in_last_epoch(trainer):
            self._write_model(trainer, _ours(pl_module))

    def _write_model(self, trainer: pl.Trainer, module: SegmentationModule) -> None:
        scores = {
            name.removeprefix("val/"): round(float(value), 6)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/")
        }
        scores |= {"epoch": trainer.current_epoch + 1, "cases": len(module.table.cases("scored"))}
        state = module.best_network.state_dict()
        save_checkpoint(self.run / MODEL_FILE, state, self.config, scores)

    def _write_scores(self, trainer: pl.Trainer, module: SegmentationModule) -> None:
        """The files that `evaluate` writes, and what is known of the cases."""
        data: Any = trainer.datamodule
        about = {
            "network": self.config.network.name,
            "epoch": trainer.current_epoch + 1,
            # JSON has no numbers that are not finite.
            "losses": {c: x if math.isfinite(x) else None for c, x in module.losses.items()},
        }
        record = ScoreRecord(
            module.table,
            module.slices,
            groups={c.case.case_id: c.case.groups for c in data.validation if c.case.groups},
            missing_channels={c.case.case_id: c.missing for c in data.validation if c.missing},
        )
        record.write(self.run, about)
