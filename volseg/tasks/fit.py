"""Train a model: cases from the list, cache, Lightning, one model file in the run folder."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from volseg import memory, signals
from volseg.cases.case import Case
from volseg.cases.data_list import DataList, leaks, read_data_list
from volseg.config import ExperimentConfig, check_options, idle_options
from volseg.errors import ConfigError, DataListError
from volseg.evaluation.pictures import draw_samples
from volseg.figures.saving import optional_picture
from volseg.files.writing import CONFIG_FILE, METRICS_FILE, MODEL_FILE, SAMPLES_FILE, resume_command
from volseg.finding.skipped import notes_in_words
from volseg.metrics.record import SUMMARY_FILE
from volseg.model_file import load_model
from volseg.networks import load_encoder_weights
from volseg.progress import clock
from volseg.ranks import RankLost, rank, restarts
from volseg.runs.checkpoint_files import find_checkpoints
from volseg.runs.description import note_end
from volseg.runs.folder import open_run
from volseg.runs.metrics_table import read_metrics
from volseg.training.announcements import (
    missing_channel_lines,
    read_scores,
    regions_missing,
    score_lines,
)
from volseg.training.cache.cases import build_cache
from volseg.training.case_views import segmented_view
from volseg.training.datamodule import VolumeDataModule
from volseg.training.epoch_log import best_row, draw_curves
from volseg.training.hardware import check_hardware
from volseg.training.memory_needed import REMEDY, check_memory
from volseg.training.module import SegmentationModule
from volseg.training.tensorboard_log import full_disk_in_words
from volseg.training.trainer import build_trainer, join_again

logger = logging.getLogger(__name__)

_PICTURES = 2
_FAILURES_SHOWN = 20
_NOTES = 20


@dataclass(frozen=True)
class FitResult:
    """What `fit` left behind.

    Attributes:
        run: Folder of the run.
        model: Model file.
        scores: Validation scores of the best epoch, by name (`dice/WT`); empty without validation.
        failures: `(case_id, reason)` of cases that were left out.
        seconds: How long it took.
        rank: Number of this process; where several train, one is to tell of it, rank 0.
        trained: Whether a step was taken; none is where a finished run is resumed.
    """

    run: Path
    model: Path
    scores: dict[str, float] = field(default_factory=dict)
    failures: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    rank: int = 0
    trained: bool = True


def fit(
    config: ExperimentConfig,
    run: Path,
    *,
    resume: bool = False,
    data_list: DataList | None = None,
) -> FitResult:
    """Train the network of `config`, validate it, and keep the best model.

    Args:
        config: The experiment.
        run: Folder to write; new, unless `resume`.
        resume: Go on from the last checkpoint of the run, or begin anew where it was stopped before
            its first one; where torchrun starts failed processes again, they do so by themselves.
        data_list: Its cases; None: those of the list that the config names.

    Returns:
        Where the model is, how it scored, which cases were left out.

    Raises:
        OutputError: If the folder holds a run already or cannot be written.
        CheckpointError: If there is nothing to resume, or it was another experiment.
        ModelError: If the weights for the encoder cannot be used.
        ConfigError: If `data.cache_dir` names an environment variable that is not set, or this
            machine lacks the devices of `training`.
        ResourceError: If a batch is more than its memory can hold.
        DataListError: If no case is left to train or to validate on.
        RankLost: If another rank failed or was killed.
        Stopped: If a signal that `signals.hold` notes has come; the run can be resumed.
    """
    start = time.monotonic()
    if signals.received():
        # It came while this was imported.
        raise signals.Stopped("stopped before the training began; call again")
    resume = resume or (restarts() > 0 and bool(find_checkpoints(run)))
    data_list = data_list or read_data_list(config.data.data_list, config.data.data_root)
    training, validation = choose_cases(data_list, config)
    cache = cache_folder(config, run)
    check_options(config)
    check_hardware(config.training)
    check_memory(config)
    open_run(run, config, data_list, resume=resume)
    resume = resume and bool(find_checkpoints(run))
    pl.seed_everything(config.training.seed, workers=True, verbose=False)
    # Before the cache, which takes long, so that weights that do not fit are found at once.
    module = new_module(config, resume=resume)
    data, failures = _prepare(training, validation, config, cache)
    trainer = build_trainer(
        config,
        run,
        validate=bool(data.validation),
        started=start,
        shapes={name: tensor.shape for name, tensor in module.state_dict().items()},
    )
    # Rank 0 alone draws, and these are the first of its cases.
    drawn = data.validation[:: trainer.world_size][:_PICTURES]
    module.pictures = tuple(case.case.case_id for case in drawn)
    _announce(module, data, trainer)
    with full_disk_in_words(run, resume_command(run)):
        if trainer.is_global_zero:
            # Other ranks may be here before the first has written it.
            written = (run / CONFIG_FILE).read_text(encoding="utf-8")
            board: Any = trainer.loggers[0]
            board.experiment.add_text("config", f"```yaml\n{written}```")
        _train(trainer, module, data, run, resume=resume)
    if trainer.is_global_zero:
        draw_curves(run)
        _tell_scores(run, data, config, trainer.strategy.root_device, new=module.trained)
    seconds = time.monotonic() - start
    note_end(run, seconds)
    rows = read_metrics(run / METRICS_FILE)
    if module.trained:
        logger.info("trained in %s; the model is %s", clock(seconds), run / MODEL_FILE)
    else:
        logger.info(
            "this run is finished (%d of %d epochs): nothing was trained; to train longer: %s",
            *(len(rows), config.training.max_epochs),
            f"{resume_command(run)} training.max_epochs=N",
        )
    return FitResult(
        *(run, run / MODEL_FILE, best_scores(rows), failures, seconds, trainer.global_rank),
        trained=module.trained,
    )


def new_module(config: ExperimentConfig, *, resume: bool = False) -> SegmentationModule:
    """The module of an experiment, its encoder with the weights that the config names.

    Args:
        config: The experiment.
        resume: The weights of a checkpoint will follow, so that none are read.

    Raises:
        ConfigError: If the network needs a package that is not installed.
        ModelError: If the weights for the encoder cannot be used.
    """
    module = SegmentationModule(config)
    weights: Path | None = getattr(config.network, "encoder_weights", None)
    # A checkpoint holds weights of its own.
    if weights is not None and not resume:
        load_encoder_weights(module.network, weights)
    return module


def _prepare(
    training: Sequence[Case], validation: Sequence[Case], config: ExperimentConfig, cache: Path
) -> tuple[VolumeDataModule, tuple[tuple[str, str], ...]]:
    """Patches and cases from the cache, and `(case_id, reason)` of cases that are left out."""
    ready, failures = build_cache([*training, *validation], config, cache)
    if rank() == 0:
        for case_id, reason in failures[:_FAILURES_SHOWN]:
            logger.error("case %s is left out: %s", case_id, reason)
        if len(failures) > _FAILURES_SHOWN:
            logger.error("and %d more cases are left out", len(failures) - _FAILURES_SHOWN)
        for sentence in notes_in_words({one.case.case_id: one.notes for one in ready})[:_NOTES]:
            logger.warning("%s", sentence)
    wanted = {case.case_id for case in validation}
    data = VolumeDataModule(
        config,
        [case for case in ready if case.case.case_id not in wanted],
        [case for case in ready if case.case.case_id in wanted],
    )
    if not data.training or (wanted and not data.validation):
        raise DataListError(
            f"no case is left to {'validate on' if data.training else 'train on'}",
            remedy=f"the first of {len(failures)} problems: {failures[0][1]}",
        )
    return data, failures


def _train(
    trainer: pl.Trainer,
    module: SegmentationModule,
    data: VolumeDataModule,
    run: Path,
    *,
    resume: bool,
) -> None:
    try:
        join_again(trainer)
        # `WholeCheckpointIO` finds the checkpoint in the folder.
        with memory.in_words("training", REMEDY):
            trainer.fit(module, data, ckpt_path=run if resume else None)
    except SystemExit:
        # So Lightning ends after Ctrl-C.
        if trainer.interrupted:
            if trainer.is_global_zero and find_checkpoints(run):
                logger.info("interrupted; resume with: %s", resume_command(run))
            raise KeyboardInterrupt from None
        raise
    except RuntimeError as error:
        # Gloo has no class of its own for it; NCCL has.
        if isinstance(error, torch.distributed.DistError) or "gloo" in str(error):
            # Without the place in its source and what it advises its developers.
            detail = re.sub(r"^\[.*?\] ", "", str(error)).partition(". ")[0]
            raise RankLost(
                f"rank {rank()} lost another rank, which failed or was killed ({detail}); "
                f"resume with: {resume_command(run)}"
            ) from error
        raise


def _tell_scores(
    run: Path,
    data: VolumeDataModule,
    config: ExperimentConfig,
    device: torch.device,
    *,
    new: bool,
) -> None:
    """Log the scores of the cases, if they are new, and draw the best, median and worst of them."""
    scores = read_scores(run / SUMMARY_FILE)
    if scores is None or not data.validation:
        return
    for line in score_lines(scores, config.data.fill_missing) if new else ():
        logger.info("%s", line)
    for doubt in scores.get("doubts", ()) if new else ():
        logger.warning("%s", doubt)
    picture, model = run / SAMPLES_FILE, run / MODEL_FILE
    if picture.exists() and picture.stat().st_mtime >= model.stat().st_mtime:
        return
    dice = {
        case_id: {region: of["dice"] for region, of in case["regions"].items()}
        for case_id, case in scores["cases"].items()
    }
    cases = {case.case.case_id: case for case in data.validation}
    with optional_picture(picture):
        network = load_model(model).network.to(device)
        draw_samples(
            picture,
            {case_id: of for case_id, of in dice.items() if case_id in cases},
            lambda case_id: segmented_view(cases[case_id], network, config, device),
            f"Validation cases of {run.resolve().name}",
        )


def choose_cases(
    data_list: DataList, config: ExperimentConfig
) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Cases to train and to validate on.

    Raises:
        DataListError: If a side is empty, or a patient or a file is on both.
    """
    training, validation = data_list.split(config.data.fold)
    if not training or (config.data.fold is not None and not validation):
        folds = sorted({case.fold for case in data_list.training if case.fold is not None})
        raise DataListError(
            f"fold {config.data.fold} of {config.data.data_list} leaves {len(training)} cases to "
            f"train and {len(validation)} to validate on",
            remedy=f"it has the folds {folds}",
        )
    for problem in leaks(training, validation):
        raise DataListError(
            f"data list {config.data.data_list}: {problem.problem}", remedy=problem.remedy
        )
    return training, validation


def cache_folder(config: ExperimentConfig, run: Path) -> Path:
    """Folder of decoded cases: `data.cache_dir`, else `cache` beside the run.

    Raises:
        ConfigError: If an environment variable that it names is not set.
    """
    named = config.data.cache_dir
    if named is None:
        return run.parent / "cache"
    for name in re.findall(r"\$\{?(\w+)", named):
        if not os.environ.get(name):
            raise ConfigError(
                f"data.cache_dir {named} names the environment variable {name}, which is not set "
                "here",
                remedy="set it, or give another folder",
            )
    return Path(os.path.expandvars(named)).expanduser()


def best_scores(rows: Sequence[dict[str, str]]) -> dict[str, float]:
    """Scores of the validated epoch with the highest mean Dice, without the prefix `val/`."""
    best = best_row(rows) or {}
    return {
        name.removeprefix("val/"): float(value)
        for name, value in best.items()
        if name.startswith("val/") and value
    }


def _announce(module: SegmentationModule, data: VolumeDataModule, trainer: pl.Trainer) -> None:
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
        lines, warning = missing_channel_lines(data.training, data.validation, module.config)
        for line in lines:
            logger.info("%s", line)
        held = [(case.foreground[:, 0, 0] >= 0).tolist() for case in data.training]
        if missing := regions_missing(module.config, held):
            logger.warning(
                "%s in none of %d training cases: nothing of it can be learned",
                *(", ".join(missing), len(held)),
            )
        for sentence in filter(None, (warning, *idle_options(module.config))):
            logger.warning("%s", sentence)
