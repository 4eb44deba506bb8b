"""Undocumented parts of pytorch-lightning; found in 2.6.6."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.plugins.environments import ClusterEnvironment

# Key of the progress of the validation in a checkpoint.
_VALIDATION = "epoch_loop.val_loop.batch_progress"


def cluster_environment(trainer: pl.Trainer) -> ClusterEnvironment:
    """Launcher of the processes of a trainer, as Lightning detected it."""
    return trainer._accelerator_connector.cluster_environment


def leave_signals_alone(trainer: pl.Trainer) -> None:
    """Keep Lightning from handling SIGTERM and Slurm's signals."""
    connector: Any = trainer._signal_connector
    connector.register_signal_handlers = lambda: None


def ends_epoch(trainer: pl.Trainer) -> bool:
    """Whether the current batch, or the batch before a validation, is the last of its epoch."""
    return trainer.fit_loop.epoch_loop.batch_progress.is_last_batch


def data_of(trainer: pl.Trainer) -> Any:
    """The data module of a training."""
    attached: Any = trainer
    return attached.datamodule


def end_loaders(trainer: pl.Trainer) -> None:
    """End the processes that load batches for training."""
    trainer.fit_loop.teardown()


def restart_validation(checkpoint: dict[str, Any]) -> None:
    """Change a checkpoint so that a resumed run begins with the validation, at its first case."""
    progress = checkpoint["loops"]["fit_loop"][_VALIDATION]
    for count in ("total", "current"):
        progress[count] = dict.fromkeys(progress[count], 0)
    # As if the first case had begun.
    progress["total"] |= {"ready": 1, "started": 1}


def progress(trainer: pl.Trainer) -> dict[str, Any]:
    """State of the loops of a training, as a checkpoint holds it."""
    return {"fit_loop": trainer.fit_loop.state_dict()}


def loader_states(checkpoint: Any) -> tuple[str, Any]:
    """Key of the state of the training loaders in a checkpoint, and that state."""
    place = "loops.fit_loop.state_dict.combined_loader"
    return place, checkpoint["loops"]["fit_loop"]["state_dict"].get("combined_loader", [])
