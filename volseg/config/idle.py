"""Options that change nothing, or cannot be kept, beside the others: said, never passed over."""

from __future__ import annotations

from volseg.config.experiment import ExperimentConfig
from volseg.config.training import LossConfig, TrainingConfig
from volseg.errors import ConfigError


def check_options(config: ExperimentConfig) -> None:
    """Refuse, with ConfigError, options of a training that contradict each other."""
    patience = config.training.early_stopping
    if patience is not None and config.data.fold is None:
        raise ConfigError(
            f"training.early_stopping is {patience}, but data.fold is null, so that nothing is "
            "validated that could get better",
            remedy="set a fold, or training.early_stopping=null",
        )


def idle_options(config: ExperimentConfig) -> list[str]:
    """Options that are set and have no effect, a sentence each."""
    training, loss = config.training, config.loss
    epochs = training.max_epochs
    found = {
        f"training.momentum={training.momentum:g} is for sgd, and training.optimizer is "
        f"{training.optimizer}": _set(training, "momentum") and training.optimizer != "sgd",
        f"loss.focal_gamma={loss.focal_gamma:g} is of the focal loss, whose weight is 0": (
            loss.focal_gamma != LossConfig().focal_gamma and not loss.focal
        ),
        f"training.warmup_epochs={training.warmup_epochs:g} is longer than the training of "
        f"{epochs} epochs, whose learning rate only rises": training.warmup_epochs >= epochs,
        f"training.validate_every={training.validate_every} is more than {epochs} epochs, so that "
        "the last one alone is validated": training.validate_every > epochs,
        f"training.validate_every={training.validate_every} validates nothing, as data.fold is "
        "null": _set(training, "validate_every") and config.data.fold is None,
    }
    return [sentence for sentence, applies in found.items() if applies]


def _set(options: TrainingConfig, name: str) -> bool:
    return bool(getattr(options, name) != getattr(TrainingConfig(), name))
