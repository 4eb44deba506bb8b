"""Training of a model: from a data list to a run folder with one model file."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytorch_lightning as pl

from volseg import signals
from volseg.cases.data_list import DataList, read_data_list
from volseg.config import ExperimentConfig, check_options
from volseg.files.paths import PathLike
from volseg.files.writing import METRICS_FILE, MODEL_FILE, resume_command
from volseg.progress import clock
from volseg.ranks import restarts
from volseg.runs.checkpoint_files import find_checkpoints
from volseg.runs.description import record_end
from volseg.runs.folder import open_run
from volseg.runs.folds import choose_cases
from volseg.runs.metrics_table import best_scores, kept_epoch, read_metrics
from volseg.training.announcements import (
    announce,
)
from volseg.training.cache.location import cache_folder
from volseg.training.curves import draw_curves
from volseg.training.distances import measure_hd95
from volseg.training.hardware import check_hardware
from volseg.training.memory_needed import check_memory
from volseg.training.module import new_module
from volseg.training.outcome import report_scores
from volseg.training.preparation import prepare_cases
from volseg.training.tensorboard_log import begin_log, full_disk_in_words
from volseg.training.trainer import build_trainer, train

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitResult:
    """Result of a training.

    Attributes:
        run: Folder of the run.
        model: Model file.
        scores: Validation scores of the best epoch, by name (`dice/WT`); empty without validation.
        failures: `(case_id, reason)` of cases that were left out.
        seconds: Duration in seconds.
        rank: Number of this process; of several processes, only rank 0 reports.
        trained: Whether a step was taken; False if a finished run was resumed.
        kept_epoch: Epoch of the kept model, counted from 1; None before the first epoch has ended.
        n_validated: Number of validation cases.
        hd95_mm: Mean HD95 of the kept model by region, in mm; empty if not measured: for more than
            20 validation cases, for slices of unknown size, and near the end of
            `training.max_time`.
    """

    run: Path
    model: Path
    scores: dict[str, float] = field(default_factory=dict)
    failures: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    rank: int = 0
    trained: bool = True
    kept_epoch: int | None = None
    n_validated: int = 0
    hd95_mm: Mapping[str, float] = field(default_factory=dict)


def fit(
    config: ExperimentConfig,
    run: PathLike,
    *,
    resume: bool = False,
    data_list: DataList | None = None,
) -> FitResult:
    """Train the network of `config`, validate it, and keep the best model.

    Args:
        config: The experiment.
        run: Folder of the run; must be new, unless `resume`.
        resume: Whether to resume from the last checkpoint, or to start again if the run was stopped
            before its first checkpoint; processes that torchrun restarts always resume.
        data_list: The cases; None: those of the list that the config names.

    Returns:
        Model file, scores, and cases that were left out.

    Raises:
        OutputError: If the folder holds a run already or cannot be written.
        CheckpointError: If there is nothing to resume, or the run has another experiment.
        ModelError: If the weights for the encoder cannot be used.
        ConfigError: If `data.cache_dir` names an environment variable that is not set, or this
            machine lacks the devices of `training`.
        ResourceError: If a batch does not fit into memory.
        DataListError: If no case is left to train or to validate on.
        LabelError: If no case has all regions of the config.
        RankLost: If another rank failed or was killed.
        Stopped: If a signal recorded by `signals.record` has arrived; the run can be resumed.
    """
    start, run = time.monotonic(), Path(run)
    if signals.received():
        # The signal arrived during imports.
        raise signals.Stopped("stopped before the training began; call again")
    resume = resume or (restarts() > 0 and bool(find_checkpoints(run)))
    check_options(config)
    check_hardware(config.training)
    check_memory(config)
    cache = cache_folder(config, run)
    data_list = data_list or read_data_list(config.data.data_list, config.data.data_root)
    training, validation = choose_cases(data_list, config)
    open_run(run, config, data_list, resume=resume)
    resume = resume and bool(find_checkpoints(run))
    pl.seed_everything(config.training.seed, workers=True, verbose=False)
    # Before the cache, which takes long, so that unsuitable weights are found at once.
    module = new_module(config, resume=resume)
    data, failures = prepare_cases(training, validation, config, cache)
    trainer = build_trainer(
        config,
        run,
        validate=bool(data.validation),
        started=start,
        shapes={name: tensor.shape for name, tensor in module.state_dict().items()},
    )
    announce(module, data, trainer)
    with full_disk_in_words(run, resume_command(run)):
        begin_log(trainer, module, data, run)
        train(trainer, module, data, run, resume=resume)
    distances: dict[str, float] = {}
    if trainer.is_global_zero:
        draw_curves(run)
        device = trainer.strategy.root_device
        report_scores(run, data, config, device, new=module.trained)
        if module.trained:
            end = start + (config.training.max_time or math.inf)
            distances = measure_hd95(run / MODEL_FILE, data.validation, config, device, end)
    seconds = time.monotonic() - start
    record_end(run, seconds)
    rows = read_metrics(run / METRICS_FILE)
    if module.trained:
        since = " since the run was resumed" if resume else ""
        logger.info("trained in %s%s; the model is %s", clock(seconds), since, run / MODEL_FILE)
    else:
        logger.info(
            "this run is finished (%d of %d epochs), so nothing was trained; to train longer: %s",
            *(len(rows), config.training.max_epochs),
            f"{resume_command(run)} training.max_epochs=N",
        )
    return FitResult(
        *(run, run / MODEL_FILE, best_scores(rows), failures, seconds, trainer.global_rank),
        trained=module.trained,
        kept_epoch=kept_epoch(rows),
        n_validated=len(data.validation),
        hd95_mm=distances,
    )
