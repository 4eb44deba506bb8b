"""Early end of a training: at a time limit, or when the mean Dice no longer improves."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from volseg.compat.lightning import data_of, ends_epoch
from volseg.figures.samples import SAMPLES
from volseg.runs.metrics_table import BEST_SCORE
from volseg.training.agreement import on_any_rank
from volseg.training.checkpoints import KeepCheckpoints
from volseg.training.module import SegmentationModule

logger = logging.getLogger(__name__)

_SECONDS_FOR_FILES = 10


class TimeLimit(Callback):
    """Ends training early enough that the last validation and the model are done in time.

    An epoch that is cut short is validated. A resumed run continues that epoch as if it had never
    been cut short.

    Args:
        seconds: Limit, counted from `started`.
        started: Reading of `time.monotonic`.
        keeper: Callback that saves checkpoints.
    """

    def __init__(self, seconds: float, started: float, keeper: KeepCheckpoints) -> None:
        self.end = started + seconds
        self.keeper = keeper
        #: Seconds that a validation and the figures of samples and of the worst case take.
        self.validation = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Measured before the first batch, since the first validation may be the last.
        data, module = data_of(trainer), pl_module
        assert isinstance(module, SegmentationModule)
        if mine := data.validation[trainer.global_rank :: trainer.world_size]:
            # The first call includes set-up, so the faster of two counts.
            each = min(module.seconds_of_case(mine[0]) for _ in range(2))
            self.validation = self._with_pictures(each * len(mine), trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validation_start = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        took = time.monotonic() - self.validation_start
        self.validation = self._with_pictures(took, trainer)
        # After another batch, the same validation would be repeated.
        self._end_if_late(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        is_cut = not ends_epoch(trainer)
        if self._end_if_late(trainer) and is_cut:
            self.keeper.save(trainer)
            self.keeper.epoch_is_cut = True

    def _end_if_late(self, trainer: pl.Trainer) -> bool:
        """End training if the remaining time is too short; returns whether this call ended it."""
        late = time.monotonic() + self.validation + _SECONDS_FOR_FILES > self.end
        if not on_any_rank(late) or trainer.should_stop:
            return False
        logger.info("max_time is nearly reached: training ends here")
        trainer.should_stop = True
        return True

    @staticmethod
    def _with_pictures(validation: float, trainer: pl.Trainer) -> float:
        """Seconds of a validation and of the drawn cases, which one rank segments again."""
        cases = len(data_of(trainer).validation)
        # The samples, and the worst case.
        samples = (min(SAMPLES, cases) + 1) / math.ceil(cases / trainer.world_size)
        # With a reserve of a fifth.
        return 1.2 * (1 + samples) * validation


class StopEarly(Callback):
    """Ends training after `patience` validations without a better mean Dice.

    Validations are counted without a limit too, so a limit set on resume includes earlier ones.

    Args:
        patience: Number of validations; None: no limit.
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.best = -1.0
        self.since = 0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "since": self.since}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.since = state_dict["best"], state_dict["since"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._end_if_no_better(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        score = float(trainer.callback_metrics[BEST_SCORE])
        self.since = 0 if score > self.best else self.since + 1
        self.best = max(self.best, score)
        self._end_if_no_better(trainer)

    def _end_if_no_better(self, trainer: pl.Trainer) -> None:
        if self.patience is not None and self.since >= self.patience:
            logger.info("no better mean Dice in %d validations: training ends here", self.since)
            trainer.should_stop = True
