"""Training ends before its last epoch by a signal, all ranks together.

Ranks work in step, so one alone can neither save nor leave: the others would wait for ever. Each
notes its signal, and they agree at the end of a batch, where all meet.
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
    """Whether training ends with this epoch, as far as known now."""
    return bool(trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs)


class StopBySignal(Callback):
    """After a signal, saves at the end of the batch and raises `signals.Stopped`.

    A signal during a validation ends it, and a resumed run begins with that validation.

    Args:
        keeper: Saves.
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
        # One in the middle of an epoch, at `max_time`, is not due any more.
        self.in_validation &= ends_epoch(trainer)
        if self.in_validation:
            # It may have been due for another reason than its number.
            trainer.check_val_every_n_epoch = 1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        # After the last batch of an epoch, Lightning cannot resume with the validation from here.
        if self._asked() and not ends_epoch(trainer):
            self._stop(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Where each batch is the last one, there is no other place. Elsewhere the next batch is
        # one, and this epoch comes whole to TensorBoard first.
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
