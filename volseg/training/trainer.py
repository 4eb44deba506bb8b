"""The Lightning trainer of an experiment: logs, checkpoints, limits."""

from __future__ import annotations

import csv
import io
import logging
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    TQDMProgressBar,
)
from pytorch_lightning.loggers import TensorBoardLogger

from volseg.checkpoint import save_checkpoint
from volseg.config import ExperimentConfig, TrainingConfig
from volseg.errors import CheckpointError
from volseg.files import METRICS_FILE, MODEL_FILE, atomic_write
from volseg.inference import mixed_dtype
from volseg.progress import clock
from volseg.training.datamodule import TimedLoader
from volseg.training.module import BEST_SCORE, SCORES, SegmentationModule

logger = logging.getLogger(__name__)


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all; reading one runs no code."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        # In memory first: on a full disk, torch tells of no OSError.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(Path(path)) as unfinished:
            unfinished.write_bytes(buffer.getbuffer())

    def load_checkpoint(self, path: Any, map_location: Any = None, *_: Any, **__: Any) -> Any:
        try:
            return torch.load(path, map_location=map_location or "cpu", weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
            detail = str(error).splitlines()[0]
            raise CheckpointError(
                f"checkpoint {path} is damaged ({detail}); start the run anew with another -o"
            ) from None


class Throughput(Callback):
    """Logs patches a second and the share of the time that training waits for data."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

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
        seconds = max(self.end - self.start, 1e-9)
        patches = self.batches * self.batch_size * trainer.world_size
        pl_module.log("train/patches_per_second", patches / seconds)
        share = (_loader(trainer).waited - self.waited) / seconds
        pl_module.log("train/data_wait_share", min(share, 1.0))


def _loader(trainer: pl.Trainer) -> TimedLoader:
    loader: TimedLoader = trainer.train_dataloader
    return loader


class TimeLimit(Callback):
    """Ends training early enough that the last validation and the model are done in time.

    Args:
        seconds: From `started` on.
        started: Reading of `time.monotonic`.
    """

    def __init__(self, seconds: float, started: float) -> None:
        self.end = started + seconds
        # Before one was timed, a validation is taken to need a tenth of the time.
        self.validation = 0.1 * seconds

    def state_dict(self) -> dict[str, Any]:
        return {"validation": self.validation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.validation = state_dict["validation"]

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validation_start = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # A fifth more than it took.
        self.validation = 1.2 * (time.monotonic() - self.validation_start)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        # Ten seconds for the files.
        late = time.monotonic() + self.validation + 10 > self.end
        # Ranks agree, or one would leave the others waiting.
        if trainer.strategy.reduce_boolean_decision(late, all=False) and not trainer.should_stop:
            logger.info("max_time is near: training ends here")
            trainer.should_stop = True


class ValidateLast(Callback):
    """Validates when training ends, whatever `validate_every` says: else its end is in vain."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        if trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1


class EpochLog(Callback):
    """A row of `metrics.csv` and a line of the log for each epoch."""

    def __init__(self, path: Path, regions: tuple[str, ...]) -> None:
        self.path = path
        self.columns = [
            *("epoch", "step", "seconds", "learning_rate", "train/loss"),
            *("train/patches_per_second", "train/data_wait_share", "val/loss"),
            *(f"val/{score}/{region}" for score in SCORES for region in (*regions, "mean")),
        ]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = time.monotonic()
        self.first_epoch = trainer.current_epoch
        if not trainer.is_global_zero:
            return
        # Rows of epochs that are done again after a resume go.
        rows = read_metrics(self.path)
        kept = [row for row in rows if int(row["epoch"]) < trainer.current_epoch]
        self._write(kept)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        validated = trainer.current_epoch in self._validated
        row: dict[str, Any] = {
            name: f"{metrics[name]:.6g}"
            for name in self.columns
            if name in metrics and (validated or not name.startswith("val/"))
        }
        row["train/loss"] = f"{metrics['train/loss_epoch']:.6g}"
        row["learning_rate"] = f"{trainer.optimizers[0].param_groups[0]['lr']:.6g}"
        row["epoch"] = trainer.current_epoch
        row["step"] = trainer.global_step
        row["seconds"] = f"{time.monotonic() - self.start:.1f}"
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
        each = (time.monotonic() - self.start) / (done - self.first_epoch)
        scores = ", ".join(
            f"{name.rpartition('/')[2]} {float(row[name]):.3f}"
            for name in self.columns
            if name.startswith("val/dice/") and name in row
        )
        return (
            f"epoch {done} of {total}: loss {float(row['train/loss']):.4f}"
            + (f"; Dice {scores}" if scores else "")
            + f"; about {clock(each * (total - done))} left"
        )


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Rows of a `metrics.csv`, or none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class KeepBestModel(Callback):
    """Writes the model file at each best validation; without validation, at the end."""

    def __init__(self, path: Path, config: ExperimentConfig) -> None:
        self.path = path
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
        self._write(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.best < 0:
            self._write(trainer, pl_module)

    def _write(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SegmentationModule)
        if trainer.is_global_zero:
            scores = {
                name.removeprefix("val/"): round(float(value), 6)
                for name, value in trainer.callback_metrics.items()
                if name.startswith("val/")
            }
            scores |= {
                "epoch": trainer.current_epoch,
                "cases": len(pl_module.table.cases("scored")),
            }
            state = pl_module.best_network.state_dict()
            save_checkpoint(self.path, state, self.config, scores)


def build_trainer(
    config: ExperimentConfig, run: Path, *, validate: bool, started: float
) -> pl.Trainer:
    """Trainer that writes into the folder `run`.

    Args:
        config: The experiment.
        run: Folder of the run; exists.
        validate: Whether there are cases to validate on.
        started: Reading of `time.monotonic` that `training.max_time` counts from.
    """
    options = config.training
    terminal = sys.stderr.isatty()
    regions = tuple(config.labels.regions)
    callbacks: list[Callback] = [
        Throughput(config.data.batch_size),
        LearningRateMonitor(logging_interval="epoch"),
        EpochLog(run / METRICS_FILE, regions),
        KeepBestModel(run / MODEL_FILE, config),
        # `last` after validation and the best model's score are in, so that it knows of them.
        ModelCheckpoint(
            run / "checkpoints",
            filename="last",
            save_top_k=1,
            every_n_epochs=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
    ]
    if validate:
        callbacks.append(
            ModelCheckpoint(
                run / "checkpoints",
                filename="best",
                monitor=BEST_SCORE,
                mode="max",
                save_top_k=1,
                save_on_train_epoch_end=False,
                enable_version_counter=False,
            )
        )
        if options.early_stopping is not None:
            callbacks.append(EarlyStopping(BEST_SCORE, mode="max", patience=options.early_stopping))
    if options.max_time is not None:
        callbacks.append(TimeLimit(options.max_time, started))
    callbacks.append(ValidateLast())
    if terminal:
        callbacks.append(TQDMProgressBar())
    return pl.Trainer(
        accelerator=options.accelerator,
        devices=options.devices,
        num_nodes=options.nodes,
        precision=resolve_precision(options),
        max_epochs=options.max_epochs,
        gradient_clip_val=options.gradient_clip or None,
        check_val_every_n_epoch=options.validate_every,
        limit_val_batches=1.0 if validate else 0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=TensorBoardLogger(run, name="tensorboard", version=""),
        callbacks=callbacks,
        plugins=[WholeCheckpointIO()],
        enable_progress_bar=terminal,
        enable_model_summary=False,
        log_every_n_steps=min(50, config.data.batches_per_epoch),
    )


def resolve_precision(options: TrainingConfig) -> Any:
    """Precision in Lightning's words; `auto` asks what the accelerator can do."""
    if options.precision not in ("auto", "32"):
        return options.precision
    cuda = options.accelerator in ("auto", "gpu") and torch.cuda.is_available()
    dtype = mixed_dtype(options.precision, "cuda" if cuda else "cpu")
    return {None: "32-true", torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}[dtype]
