"""Stop of a training by a signal, on all ranks together.

A single rank can neither save nor stop, since the other ranks would wait for it forever. Each rank
notes its signal, and all ranks agree at the end of a batch.
"""

from __future__ import annotations

import logging
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from volseg import signals
from volseg.compat.lightning import ends_epoch, restart_validation
from volseg.files.writing import resume_command
from volseg.training.agreement import on_any_rank
from volseg.training.checkpoints import KeepCheckpoints

logger = logging.getLogger(__name__)


def in_last_epoch(trainer: pl.Trainer) -> bool:
    """Whether this epoch is the last one, as far as known now."""
    return bool(trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs)


class StopBySignal(Callback):
    """Saves a checkpoint at the end of the batch after a signal, and raises `signals.Stopped`.

    A signal during a validation ends the validation, and a resumed run begins with it.

    Args:
        keeper: Callback that saves checkpoints.
    """

    def __init__(self, keeper: KeepCheckpoints) -> None:
        self.keeper = keeper
        self.in_validation = False

    def state_dict(self) -> dict[str, Any]:
        return {"in_validation": self.in_validation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.in_validation = state_dict["in_validation"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validate_every = trainer.check_val_every_n_epoch
        # A validation in the middle of an epoch, at `max_time`, is not repeated.
        self.in_validation &= ends_epoch(trainer)
        if self.in_validation:
            # The validation may have been due in an epoch that `validate_every` skips.
            trainer.check_val_every_n_epoch = 1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        # After the last batch of an epoch, Lightning cannot resume with the validation.
        if self._asked() and not ends_epoch(trainer):
            self._stop(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # With one batch per epoch, training can stop only here. Otherwise it stops after the next
        # batch, once all numbers of this epoch are in TensorBoard.
        if trainer.num_training_batches == 1 and self._asked() and not in_last_epoch(trainer):
            self._stop(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._end_validation(trainer)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._end_validation(trainer)

    def _end_validation(self, trainer: pl.Trainer) -> None:
        self.in_validation = True
        if self._asked():
            self._stop(trainer)
        self.in_validation = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.check_val_every_n_epoch = self.validate_every

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self.in_validation:
            restart_validation(checkpoint)

    def _asked(self) -> bool:
        return on_any_rank(signals.received() is not None)

    def _stop(self, trainer: pl.Trainer) -> None:
        path = self.keeper.save(trainer)
        signal = signals.received()
        name = signal.name if signal else "a signal to another rank"
        logger.info("stopped by %s after %d steps; saved %s", name, trainer.global_step, path)
        raise signals.Stopped(
            f"stopped after {trainer.global_step} steps; resume with: "
            f"{resume_command(self.keeper.run)}"
        )
