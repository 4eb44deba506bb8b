"""The folder of a run: made for a new run, or opened to resume, and never mixed with other files.

Without torch, so that the same checks can refuse a job quickly, before it waits in a queue.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from volseg.cases.data_list import DataList
from volseg.config import ExperimentConfig
from volseg.errors import CheckpointError, OutputError
from volseg.files.ownership import is_checkpoint, is_log, is_ours
from volseg.files.writing import (
    CONFIG_FILE,
    CURVES_FILE,
    DATA_LIST_FILE,
    METRICS_FILE,
    MODEL_FILE,
    SAMPLES_FILE,
    WORST_FILE,
    check_outputs,
    make_output,
    remove,
    remove_unfinished,
    resume_command,
)
from volseg.metrics.record import SCORE_FILES
from volseg.ranks import rank
from volseg.runs.checkpoint_files import CHECKPOINTS, find_checkpoints
from volseg.runs.description import ENVIRONMENT, describe, is_finished, read_description
from volseg.runs.metrics_table import read_metrics
from volseg.runs.resuming import check_same_experiment, check_same_preprocessing

LOGS = "tensorboard"

# Files that training writes, besides those that describe the run.
_RESULTS = (METRICS_FILE, MODEL_FILE, *SCORE_FILES, CURVES_FILE, SAMPLES_FILE, WORST_FILE)
_FILES = (ENVIRONMENT, CONFIG_FILE, DATA_LIST_FILE, *_RESULTS)


def open_run(run: Path, config: ExperimentConfig, data_list: DataList, *, resume: bool) -> None:
    """Make the folder of a run, or check that its run can be resumed, and describe the run in it.

    Args:
        run: Folder of the run.
        config: The experiment, written with every option.
        data_list: The cases, written with their folds.
        resume: Whether the run is resumed.

    Raises:
        OutputError: If the folder holds a run already or cannot be written.
        CheckpointError: If there is nothing to resume, or the run has another experiment.
    """
    if rank() != 0:
        # Lightning starts the command for each further GPU after rank 0 has done this.
        return
    check_run(run, config, data_list, resume=resume)
    resume = resume and bool(find_checkpoints(run))
    # Files that describe a resumed run are replaced only if they differ.
    make_output(run, _RESULTS if resume else _FILES)
    remove_unfinished(run / CHECKPOINTS, is_checkpoint)
    if not resume:
        _clear(run)
    before = read_description(run).get("sources") if resume else None
    describe(run, config, data_list, before if isinstance(before, dict) else {})


def check_run(
    run: Path,
    config: ExperimentConfig,
    data_list: DataList,
    *,
    resume: bool,
    fingerprints: Callable[[], Mapping[str, str]] | None = None,
) -> None:
    """Refuse a folder that cannot take a new run, or whose run cannot be resumed.

    Args:
        run: Folder of the run.
        config: The experiment.
        data_list: The cases.
        resume: Whether the run is to be resumed.
        fingerprints: As in `check_same_experiment`.

    Raises:
        OutputError: If the folder holds a run already.
        CheckpointError: If there is nothing to resume, or the run has another experiment.
    """
    held, checkpoints = is_held(run), find_checkpoints(run)
    if resume and not checkpoints:
        if held or not is_ours(run / ENVIRONMENT):
            remedy = "choose another -o" if held else "start the run without --resume"
            raise CheckpointError(f"{run / CHECKPOINTS} holds no checkpoint", remedy=remedy)
        resume = False  # stopped before its first checkpoint, so it starts from scratch
    if resume:
        check_same_experiment(run, config, data_list, fingerprints)
        check_same_preprocessing(run, config)
    elif held:
        remedy = f"resume it with: {resume_command(run)}, or choose" if checkpoints else "choose"
        raise OutputError(f"{run} already holds a run", remedy=f"{remedy} another -o", path=run)
    elif not is_ours(run / ENVIRONMENT):
        _check_free(run)
    else:
        check_outputs(run, _FILES)


def _check_free(run: Path) -> None:
    """Refuse a folder that already holds files with the names of a run, with OutputError."""
    there = [name for name in (*_FILES, CHECKPOINTS, LOGS) if os.path.lexists(run / name)]
    if there:
        raise OutputError(
            f"{run} holds {there[0]}, but no run of volseg",
            remedy="choose another -o",
            path=run,
        )


def is_held(run: Path) -> bool:
    """Whether a folder holds results of a run that must not be lost.

    A run that was stopped within its first epoch cannot be resumed, though its first validation
    may have left a model.
    """
    if find_checkpoints(run) or is_finished(run):
        return True
    if not ((run / CHECKPOINTS).exists() or (run / MODEL_FILE).exists()):
        return False
    table = run / METRICS_FILE
    described = table.exists() and (run / ENVIRONMENT).exists()
    # The row of an epoch is written just before the checkpoint of the epoch.
    return not described or len(read_metrics(table)) > 1


def _clear(run: Path) -> None:
    """Remove the files of a run that was stopped before its first checkpoint."""
    for name in _RESULTS:
        remove(run / name)
    for folder in (run / LOGS, run / CHECKPOINTS):
        with contextlib.suppress(OSError):
            for path in list(folder.iterdir()):
                if is_log(path.name) and path.is_file():
                    path.unlink()
            folder.rmdir()  # fails if it holds other files
