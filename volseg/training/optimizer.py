"""Optimizer, learning-rate schedule, and changes of batch and learning rate on resume."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from pytorch_lightning.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig
from torch import nn

from volseg.config import ExperimentConfig, TrainingConfig


def build_optimizer(network: nn.Module, config: ExperimentConfig) -> OptimizerLRSchedulerConfig:
    """The optimizer of a network and its schedule, in the form that Lightning takes."""
    options = config.training
    optimizer: torch.optim.Optimizer
    if options.optimizer in ("adamw", "adam"):
        adam = torch.optim.AdamW if options.optimizer == "adamw" else torch.optim.Adam
        optimizer = adam(
            network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
    else:
        optimizer = torch.optim.SGD(
            network.parameters(),
            lr=options.learning_rate,
            momentum=options.momentum,
            nesterov=options.momentum > 0,
            weight_decay=options.weight_decay,
        )
    steps = config.data.batches_per_epoch
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_factor(step, steps, options)
    )
    stepwise: LRSchedulerConfigType = {"scheduler": scheduler, "interval": "step"}
    return {"optimizer": optimizer, "lr_scheduler": stepwise}


def rate_factor(step: int, steps_per_epoch: int, options: TrainingConfig) -> float:
    """Learning rate at a step, divided by the configured rate.

    A linear warm-up, then a decay over the remaining steps: half a cosine, `(1 - t) ** 0.9` as in
    nnU-Net, or none.
    """
    total = options.max_epochs * steps_per_epoch
    warmup = min(round(options.warmup_epochs * steps_per_epoch), total - 1)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = min(1.0, (step - warmup) / (total - warmup))
    if options.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if options.schedule == "poly":
        return (1 - done) ** 0.9
    return 1.0


def changes(
    checkpoint: Mapping[str, Any], config: ExperimentConfig, processes: int
) -> Iterator[str]:
    """A sentence for each change of batch size and learning rate since the checkpoint.

    Args:
        checkpoint: Checkpoint that the run resumes from.
        config: Config that the run resumes with.
        processes: Number of processes that train together now.
    """
    before, batch = checkpoint["processes"], config.data.batch_size
    if before != processes:
        yield (
            f"the batch size was {before * batch} in {before} processes, and is "
            f"{processes * batch} in {processes} from here on"
        )
    options = config.training
    # Checkpoints of the first versions do not record max_epochs.
    epochs = checkpoint.get("max_epochs", options.max_epochs)
    planned = options.model_copy(update={"max_epochs": epochs})
    place = checkpoint["global_step"], config.data.batches_per_epoch
    rates = [options.learning_rate * rate_factor(*place, of) for of in (planned, options)]
    if rates[0] != rates[1]:
        yield (
            f"training.max_epochs was {epochs} and is {options.max_epochs}, and the learning rate "
            f"depends on it: from here on {rates[1]:.3g} instead of {rates[0]:.3g}"
        )
