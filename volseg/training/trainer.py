"""The Lightning trainer of an experiment: logs, checkpoints, limits."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    Callback,
    LearningRateMonitor,
    TQDMProgressBar,
)
from torch import distributed

from volseg import memory
from volseg.compat.lightning import leave_signals_alone
from volseg.config import ExperimentConfig
from volseg.files.ownership import EVENTS_ENDING
from volseg.files.writing import METRICS_FILE, resume_command
from volseg.ranks import RankLost, rank, restarts
from volseg.runs.checkpoint_files import find_checkpoints
from volseg.runs.folder import LOGS
from volseg.training.callbacks import (
    KeepBestModel,
    MovingAverage,
    Throughput,
    TrainingScores,
    ValidateLast,
)
from volseg.training.checkpoints import AtomicCheckpointIO, KeepCheckpoints
from volseg.training.curves import Curves
from volseg.training.datamodule import VolumeDataModule
from volseg.training.epoch_log import EpochLog
from volseg.training.finite import StopNotFinite
from volseg.training.hardware import on_cuda, processes, resolve_precision
from volseg.training.limits import StopEarly, TimeLimit
from volseg.training.memory_needed import REMEDY
from volseg.training.module import SegmentationModule
from volseg.training.stopping import StopBySignal
from volseg.training.tensorboard_cards import STEPS_BETWEEN_LOSSES, CardLogger
from volseg.training.worst_case import WorstCase

logger = logging.getLogger(__name__)


def build_trainer(
    config: ExperimentConfig,
    run: Path,
    *,
    validate: bool,
    started: float,
    shapes: Mapping[str, torch.Size] | None = None,
) -> pl.Trainer:
    """Trainer that writes into the folder `run`.

    Args:
        config: The experiment.
        run: Folder of the run, which exists.
        validate: Whether there are cases to validate on.
        started: Reading of `time.monotonic` from which `training.max_time` counts.
        shapes: Shapes of the weights that a checkpoint of this run holds, by name; None: any.
    """
    options = config.training
    terminal = sys.stderr.isatty()
    finite = StopNotFinite(run)
    callbacks: list[Callback] = [
        finite,
        MovingAverage(),
        Throughput(config.data.batch_size),
        TrainingScores(),
        LearningRateMonitor(logging_interval="epoch"),
        EpochLog(run / METRICS_FILE, config, started),
        Curves(run),
        KeepBestModel(run, config),
        WorstCase(run, config),
    ]
    if validate:
        callbacks.append(StopEarly(options.early_stopping))
    keeper = KeepCheckpoints(run, finite)
    if options.max_time is not None:
        callbacks.append(TimeLimit(options.max_time, started, keeper))
    callbacks.append(ValidateLast())
    if terminal:
        callbacks.append(TQDMProgressBar())
    # Last, so that a checkpoint holds the latest state of all other callbacks.
    callbacks += [StopBySignal(keeper), keeper]
    devices, nodes = processes(options)
    precision = resolve_precision(options)
    if precision == "32-true" and options.precision not in ("auto", "32"):
        logger.warning(
            "training.precision=%s: mixed precision is for a CUDA GPU, so float32 is used",
            options.precision,
        )
    checkpoints = AtomicCheckpointIO(shapes)
    trainer = pl.Trainer(
        accelerator=options.accelerator,
        devices=devices,
        num_nodes=nodes,
        # In a Slurm job, Lightning looks here for checkpoints of its own.
        default_root_dir=run,
        precision=precision,
        # Patches and windows have a fixed size, so a search for the fastest algorithm pays off.
        benchmark=on_cuda(options),
        max_epochs=options.max_epochs,
        gradient_clip_val=options.gradient_clip or None,
        check_val_every_n_epoch=options.validate_every,
        limit_val_batches=1.0 if validate else 0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=CardLogger(run, name=LOGS, version="", filename_suffix=EVENTS_ENDING),
        callbacks=callbacks,
        plugins=[checkpoints],
        enable_progress_bar=terminal,
        enable_model_summary=False,
        log_every_n_steps=min(STEPS_BETWEEN_LOSSES, config.data.batches_per_epoch),
    )
    checkpoints.trainer = trainer
    # Lightning's handler of SIGTERM waits for other ranks, which may wait for this rank. A signal
    # mask cannot prevent that, since a thread of a library may receive the signal.
    leave_signals_alone(trainer)
    return trainer


def join_after_restart(trainer: pl.Trainer) -> None:
    """Connect processes that torchrun has restarted.

    The store of torchrun still holds the addresses of the processes that ended. So the restarted
    processes write their addresses under another prefix.
    """
    if restarts() > 0:
        store, number, world_size = next(distributed.rendezvous("env://"))
        store = distributed.PrefixStore(f"restart-{restarts()}", store)
        backend = "nccl" if trainer.strategy.root_device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=store, rank=number, world_size=world_size)


def train(
    trainer: pl.Trainer,
    module: SegmentationModule,
    data: VolumeDataModule,
    run: Path,
    *,
    resume: bool,
) -> None:
    """Train, from the newest good checkpoint of the run folder if the run is resumed.

    Raises:
        KeyboardInterrupt: If Ctrl-C was pressed.
        RankLost: If another rank failed or was killed.
    """
    try:
        join_after_restart(trainer)
        # `AtomicCheckpointIO` finds the checkpoint in the folder.
        with memory.in_words("training", REMEDY):
            trainer.fit(module, data, ckpt_path=run if resume else None)
    except SystemExit:
        # Lightning raises SystemExit after Ctrl-C.
        if trainer.interrupted:
            if trainer.is_global_zero and find_checkpoints(run):
                logger.info("interrupted; resume with: %s", resume_command(run))
            raise KeyboardInterrupt from None
        raise
    except RuntimeError as error:
        # NCCL has its own class of errors; Gloo has none.
        if isinstance(error, torch.distributed.DistError) or "gloo" in str(error):
            # Drop the place in the source and the advice to developers.
            detail = re.sub(r"^\[.*?\] ", "", str(error)).partition(". ")[0]
            raise RankLost(
                f"rank {rank()} lost another rank, which failed or was killed ({detail}); "
                f"resume with: {resume_command(run)}"
            ) from error
        raise
