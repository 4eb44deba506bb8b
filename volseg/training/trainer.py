"""The Lightning trainer of an experiment: logs, checkpoints, limits."""

from __future__ import annotations

import io
import logging
import pickle
import sys
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

from volseg.config import ExperimentConfig, TrainingConfig
from volseg.errors import CheckpointError
from volseg.files import METRICS_FILE, atomic_write
from volseg.training.callbacks import (
    KeepBestModel,
    Throughput,
    TimeLimit,
    TrainingScores,
    ValidateLast,
)
from volseg.training.epoch_log import Curves, EpochLog
from volseg.training.module import BEST_SCORE
from volseg.windows import mixed_dtype

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
    callbacks: list[Callback] = [
        Throughput(config.data.batch_size),
        TrainingScores(),
        LearningRateMonitor(logging_interval="epoch"),
        EpochLog(run / METRICS_FILE, config),
        Curves(run),
        KeepBestModel(run, config),
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
