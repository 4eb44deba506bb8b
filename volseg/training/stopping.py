"""Training ends before its last epoch: at a limit of time, or by a signal, all ranks together.

What ranks do they do in step, so one alone can neither save nor leave: the others would wait for it
for ever. Each notes what it knows, and at the end of a batch, where all meet, they agree.
"""

from __future__ import annotations

import logging
import math
import time
from functools import cache
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import distributed

from volseg import signals
from volseg.overlay import SAMPLES
from volseg.runs import resume_command
from volseg.training.checkpoints import KeepCheckpoints

logger = logging.getLogger(__name__)

# Where Lightning keeps the progress of the validation inside a checkpoint.
_VALIDATION = "epoch_loop.val_loop.batch_progress"


def on_any_rank(flag: bool) -> bool:
    """Whether `flag` is set on any rank; all ranks ask at the same places."""
    if not distributed.is_initialized():
        return flag
    asked = torch.tensor([int(flag)])
    distributed.all_reduce(asked, op=distributed.ReduceOp.MAX, group=_cpu_ranks())
    return bool(asked.item())


def in_last_epoch(trainer: pl.Trainer) -> bool:
    """Whether training ends with this epoch, as far as known now."""
    return bool(trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs)


@cache
def _cpu_ranks() -> Any:
    """Ranks that meet on the CPU, so that nobody waits for what a GPU still has to do."""
    if distributed.get_backend() == "gloo":
        return distributed.group.WORLD
    return distributed.new_group(backend="gloo")


class StopBySignal(Callback):
    """After SIGTERM or SIGUSR1, saves at the end of the batch and raises `signals.Stopped`.

    A signal during a validation ends it, and the run goes on with that validation.

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
        self.in_validation &= trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if self.in_validation:
            # It may have been due for another reason than its number.
            trainer.check_val_every_n_epoch = 1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        # After the last batch of an epoch, Lightning cannot go on with the validation from here.
        if self._asked() and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
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
            # As if its first case had begun: so Lightning starts with the validation again.
            progress = checkpoint["loops"]["fit_loop"][_VALIDATION]
            for count in ("total", "current"):
                progress[count] = dict.fromkeys(progress[count], 0)
            progress["total"] |= {"ready": 1, "started": 1}

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
        # The samples are segmented once more, after training, by one rank.
        data: Any = trainer.datamodule
        samples = min(SAMPLES, len(data.validation)) / math.ceil(
            len(data.validation) / trainer.world_size
        )
        # A fifth more than it took.
        self.validation = 1.2 * (1 + samples) * (time.monotonic() - self.validation_start)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        # Ten seconds for the files.
        late = time.monotonic() + self.validation + 10 > self.end
        if on_any_rank(late) and not trainer.should_stop:
            logger.info("max_time is near: training ends here")
            trainer.should_stop = True
