"""Log of a training before its first step: network, batch, cases and the channels they lack."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import pytorch_lightning as pl

from volseg.cases.case import Case
from volseg.cases.filling import lacking_in_words
from volseg.config import ExperimentConfig, idle_options
from volseg.training.cache.cases import CachedCase
from volseg.training.datamodule import VolumeDataModule
from volseg.training.module import SegmentationModule

logger = logging.getLogger(__name__)

_CASES_SHOWN = 20


def missing_channel_lines(
    training: Iterable[CachedCase], validation: Iterable[CachedCase], config: ExperimentConfig
) -> tuple[list[str], str | None]:
    """A line for each case that lacks channels, and a warning if training has few such cases.

    Args:
        training: Cases to train on.
        validation: Cases to validate on.
        config: The experiment.

    Returns:
        The lines, and the warning or None.
    """
    sides = {"training": training, "validation": validation}
    lines = [
        f"{case.case.case_id} ({side}): {lacking_in_words(case.missing, config.data.fill_missing)}"
        for side, cases in sides.items()
        for case in cases
        if case.missing
    ]
    if not lines:
        return [], None
    if len(lines) > _CASES_SHOWN:
        more = len(lines) - _CASES_SHOWN
        lines[_CASES_SHOWN:] = [f"and {more} more cases that lack channels"]
    is_prepared = config.data.channels_optional or config.augmentation.channel_dropout
    return lines, None if is_prepared else _unprepared(training)


def regions_missing(config: ExperimentConfig, held: Sequence[Sequence[bool]]) -> list[str]:
    """Regions of which no case has a voxel.

    Args:
        config: The experiment, which names the regions.
        held: For each case and region, whether the region has a voxel; without cases, no region
            is missing.
    """
    of_regions = zip(config.labels.regions, zip(*held, strict=True), strict=bool(held))
    return [region for region, of_cases in of_regions if not any(of_cases)]


def by_slice_note(cases: Iterable[Case], config: ExperimentConfig) -> str | None:
    """A note if a 2D network is trained on volumes, which may not be intended; else None."""
    if not config.by_slice or any(case.slices for case in cases):
        return None
    return (
        f"data.patch_size {list(config.data.patch_size)} has two sides, so the network processes "
        "the volumes slice by slice; give it three sides for a 3D network"
    )


def _unprepared(training: Iterable[CachedCase]) -> str:
    count = sum(bool(case.missing) for case in training)
    seen = f"only from {count} of its training cases" if count else "from no training case"
    return (
        f"cases lack channels, and the network learns to handle this {seen}: "
        "augmentation.channel_dropout is 0; set it to a probability, such as 0.2"
    )


def announce(module: SegmentationModule, data: VolumeDataModule, trainer: pl.Trainer) -> None:
    """Log the network, the device, the number of cases and the batch; warn of likely mistakes."""
    parameters = sum(p.numel() for p in module.network.parameters()) / 1e6
    options = module.config.data
    processes = trainer.world_size
    logger.info(
        "%s with %.2f M parameters on %s, precision %s; %d cases to train on, %d to validate on",
        module.config.network.name,
        parameters,
        trainer.strategy.root_device,
        trainer.precision,
        len(data.training),
        len(data.validation),
    )
    logger.info(
        "batch of %d (%d a process, %s), %d steps an epoch, learning rate %g",
        options.batch_size * processes,
        options.batch_size,
        "1 process" if processes == 1 else f"{processes} processes",
        options.batches_per_epoch,
        module.config.training.learning_rate,
    )
    if trainer.is_global_zero:
        if note := by_slice_note((one.case for one in data.training), module.config):
            logger.info("%s", note)
        lines, warning = missing_channel_lines(data.training, data.validation, module.config)
        for line in lines:
            logger.info("%s", line)
        held = [(case.foreground[:, 0, 0] >= 0).tolist() for case in data.training]
        if missing := regions_missing(module.config, held):
            logger.warning(
                "%s in none of %d training cases: the network cannot learn it",
                *(", ".join(missing), len(held)),
            )
        for sentence in filter(None, (warning, *idle_options(module.config))):
            logger.warning("%s", sentence)
