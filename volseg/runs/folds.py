"""The folds of a cross-validation: each fold is a run; finished folds are kept on resume."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType

from volseg import signals
from volseg.cases.case import Case
from volseg.cases.data_list import DataList, leaks, read_data_list
from volseg.cases.sources import case_fingerprints
from volseg.config import ExperimentConfig, write_config
from volseg.errors import ConfigError, DataListError, OutputError
from volseg.files.writing import (
    CONFIG_FILE,
    atomic_write,
    check_outputs,
    make_output,
    resume_command,
)
from volseg.runs.checkpoint_files import find_checkpoints
from volseg.runs.folder import check_run, is_held
from volseg.runs.resuming import check_same_experiment, has_ended
from volseg.runs.schemes import check_schemes

logger = logging.getLogger(__name__)

ALL = "all"

_VOLSEG = (sys.executable, "-m", "volseg")
_SOME_FAILED = 3
_STOPPED = (signals.EXIT_STOPPED, signals.EXIT_INTERRUPTED)


@dataclass(frozen=True)
class FoldsResult:
    """Result of training several folds.

    Attributes:
        done: Folders of runs trained now.
        kept: Folders of runs that were finished before.
        failures: `(name, reason)` of each fold that failed or left cases out.
        stopped: Exit code of the fold that was stopped or interrupted; later folds did not begin.
    """

    done: tuple[Path, ...] = ()
    kept: tuple[Path, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()
    stopped: int | None = None


def fit_folds(
    config: ExperimentConfig,
    run: Path,
    folds: str,
    *,
    resume: bool = False,
    program: Sequence[str] = _VOLSEG,
) -> FoldsResult:
    """Train one fold after another, each in a separate process, into `run/fold0` and so on.

    Args:
        config: The experiment; its `data.fold` is ignored.
        run: Folder of the runs.
        folds: `all`, or numbers such as `0,2`.
        resume: Whether to keep finished folds, resume stopped folds and start the others.
        program: Command that calls volseg.

    Raises:
        ConfigError, DataListError: If a fold does not exist.
        OutputError: If a folder holds a run already, without `resume`, or cannot be written.
        CheckpointError: If a folder holds a run of another experiment.
    """
    data_list = read_data_list(config.data.data_list, config.data.data_root)
    chosen = choose_folds(folds, data_list)
    waiting = folds_to_do(config, run, chosen, data_list, resume=resume)
    kept = tuple(fold_folder(run, fold) for fold in chosen if fold not in waiting)
    for folder in kept:
        logger.info("%s is finished and is kept", folder)
    make_output(run, [CONFIG_FILE])
    with atomic_write(run / CONFIG_FILE) as temporary:
        write_config(temporary, config)
    done: list[Path] = []
    failures: list[tuple[str, str]] = []
    with _Processes() as processes:
        for fold in waiting:
            folder = fold_folder(run, fold)
            resumed = ["--resume"] if find_checkpoints(folder) else []
            logger.info("%s %s", "resuming" if resumed else "training", folder)
            words = [
                "fit",
                str(run / CONFIG_FILE),
                f"data.fold={fold}",
                "-o",
                str(folder),
                *resumed,
            ]
            code = processes.call([*program, *words])
            if code in _STOPPED:
                again = f"{resume_command(run)} --folds {folds}"
                logger.info("the remaining folds were not started; resume with: %s", again)
                return FoldsResult(tuple(done), kept, tuple(failures), code)
            if code in (0, _SOME_FAILED):
                done.append(folder)
            if code != 0:
                reason = (
                    "cases were left out" if code == _SOME_FAILED else f"ended with code {code}"
                )
                failures.append((folder.name, f"{reason}; see its log above"))
    return FoldsResult(tuple(done), kept, tuple(failures))


def choose_folds(text: str, data_list: DataList) -> tuple[int, ...]:
    """Folds chosen by `all`, or by numbers such as `0,2`.

    Raises:
        ConfigError: If the text is neither.
        DataListError: If the list has no folds.
    """
    if text == ALL:
        found = sorted({case.fold for case in data_list.training if case.fold is not None})
        if not found:
            raise DataListError(
                f"data list {data_list.name!r} has no folds", remedy="make it with volseg split"
            )
        return tuple(found)
    try:
        return tuple(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError:
        raise ConfigError(
            f"--folds {text} is neither all nor numbers", remedy="write --folds all or --folds 0,2"
        ) from None


def check_cases(data_list: DataList, fold: int | None) -> None:
    """Refuse a fold that leaves nothing to train or to validate on, with DataListError."""
    data_list.cases(fold)
    if not data_list.split(fold)[0]:
        raise DataListError(
            f"fold {fold} of data list {data_list.name!r} leaves no case to train on",
            remedy="give more folds to volseg split",
        )


def choose_cases(
    data_list: DataList, config: ExperimentConfig
) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Cases to train and to validate on.

    Raises:
        DataListError: If a side is empty, or both sides hold the same patient or file.
        LabelError: If no case of a side has all regions of the config.
    """
    training, validation = data_list.split(config.data.fold)
    if not training or (config.data.fold is not None and not validation):
        folds = sorted({case.fold for case in data_list.training if case.fold is not None})
        raise DataListError(
            f"fold {config.data.fold} of {config.data.data_list} leaves {len(training)} cases to "
            f"train and {len(validation)} to validate on",
            remedy=f"the list has the folds {folds}",
        )
    for side in (training, validation):
        check_schemes(side, config)
    for problem in leaks(training, validation):
        raise DataListError(
            f"data list {config.data.data_list}: {problem.problem}", remedy=problem.remedy
        )
    return training, validation


def fold_folder(run: Path, fold: int) -> Path:
    """Folder of the run of a fold."""
    return run / f"fold{fold}"


def folds_to_do(
    config: ExperimentConfig,
    run: Path,
    folds: Sequence[int],
    data_list: DataList,
    *,
    resume: bool,
) -> tuple[int, ...]:
    """Folds that are not finished; refuses what `fit` of a fold would refuse at its start."""
    if is_held(run):
        raise OutputError(
            f"{run} holds a run itself", remedy="choose another -o for the folds", path=run
        )
    check_outputs(run, [CONFIG_FILE])
    waiting = []
    fingerprints = cache(lambda: case_fingerprints(data_list.training))
    for fold in folds:
        folder = fold_folder(run, fold)
        of_fold = with_fold(config, fold)
        check_cases(data_list, fold)
        if resume and has_ended(folder, of_fold):
            check_same_experiment(folder, of_fold, data_list, fingerprints)
            continue
        check_run(
            folder, of_fold, data_list, resume=resume and is_held(folder), fingerprints=fingerprints
        )
        waiting.append(fold)
    return tuple(waiting)


def with_fold(config: ExperimentConfig, fold: int) -> ExperimentConfig:
    """The experiment with `data.fold` set to a fold."""
    return config.model_copy(update={"data": config.data.model_copy(update={"fold": fold})})


class _Processes:
    """Runs one process after another; signals that ask for a stop are noted and passed on."""

    def __init__(self) -> None:
        received = signals.received()
        self.noted: list[int] = [] if received is None else [received]
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Processes:
        self.before = {number: signal.signal(number, self._pass_on) for number in signals.STOPPING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def call(self, words: Sequence[str]) -> int:
        """Exit code of a process, or of a stop if a signal ended the process early."""
        if self.noted:
            return self._exit_code()
        self.process = subprocess.Popen(words)
        for number in self.noted:  # signals that arrived while the process was started
            self._send(number)
        code = self.process.wait()
        return self._exit_code() if self.noted and code else code

    def _exit_code(self) -> int:
        interrupted = signal.SIGINT in self.noted
        return signals.EXIT_INTERRUPTED if interrupted else signals.EXIT_STOPPED

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        self.noted.append(number)
        self._send(number)

    def _send(self, number: int) -> None:
        if self.process is not None:
            # A terminal sends Ctrl-C to the process too, and a second SIGINT would kill it.
            self.process.send_signal(signal.SIGTERM if number == signal.SIGINT else number)
