"""The folder of a run: made, described so that the run can be repeated, and opened to resume.

Without torch, so that a job is refused in a second by what would refuse it after a day in a queue.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from volseg.cases.data_list import DataList, read_data_list, write_data_list
from volseg.cases.sources import case_marks
from volseg.config import ExperimentConfig, load_config, write_config
from volseg.errors import CheckpointError, OutputError, VolsegError
from volseg.files.documents import read_json, read_table
from volseg.files.ownership import is_checkpoint, is_log, is_ours
from volseg.files.writing import (
    CONFIG_FILE,
    CURVES_FILE,
    DATA_LIST_FILE,
    METRICS_FILE,
    MODEL_FILE,
    SAMPLES_FILE,
    atomic_write,
    check_outputs,
    make_output,
    remove,
    remove_unfinished,
    resume_command,
)
from volseg.metrics.record import SCORE_FILES
from volseg.ranks import rank
from volseg.words import cases_in_words, reason

CHECKPOINTS, ENVIRONMENT, LOGS = "checkpoints", "environment.json", "tensorboard"

# What training leaves in the folder, beside what describes the run.
_RESULTS = (METRICS_FILE, MODEL_FILE, *SCORE_FILES, CURVES_FILE, SAMPLES_FILE)
_FILES = (ENVIRONMENT, CONFIG_FILE, DATA_LIST_FILE, *_RESULTS)

_PACKAGES = ("volseg", "torch", "monai", "pytorch-lightning", "numpy", "nibabel")
# Options that may change when a run goes on; any other would make it another experiment.
_FREE = {
    *("data.data_list", "data.data_root", "data.workers", "data.cache_dir"),
    *("training.max_epochs", "training.max_time", "training.early_stopping"),
    *("training.validate_every", "training.accelerator", "training.devices", "training.nodes"),
    "inference.window_batch",
}
# Of a run that is finished, these may be changed, and it then goes on.
_LIMITS = ("max_epochs", "max_time", "early_stopping", "validate_every")
_READABLE = "make their files readable again (see data.data_root), or "


def checkpoint_path(run: Path, steps: int) -> Path:
    """File of the checkpoint of a run after so many steps."""
    return run / CHECKPOINTS / f"step-{steps:08d}.ckpt"


def find_checkpoints(run: Path) -> list[Path]:
    """Checkpoints of a run, newest first; what else lies in their folder is left alone."""
    return [path for path in _like_checkpoints(run) if path.is_file()]


def odd_checkpoints(run: Path) -> list[Path]:
    """What is called like a checkpoint of a run, but is no file; it is left alone."""
    return [path for path in _like_checkpoints(run) if not path.is_file()]


def _like_checkpoints(run: Path) -> list[Path]:
    paths = (run / CHECKPOINTS).glob("step-*.ckpt")
    return sorted((path for path in paths if is_checkpoint(path.name)), reverse=True)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Rows of a `metrics.csv`, or none if there is no such file.

    Raises:
        OutputError: If it cannot be read, or a cell that is not empty is no number.
    """
    if not path.exists():
        return []
    remedy = "correct it, or move it away"
    rows = read_table(path, OutputError, remedy=remedy)
    for number, row in enumerate(rows, start=2):
        try:
            _ = int(row["epoch"]), [float(cell) for cell in row.values() if cell]
        except (KeyError, ValueError) as error:
            raise OutputError(
                f"row {number} of {path} is not of an epoch ({reason(error)})", remedy=remedy
            ) from None
    return rows


def recorded(
    run: Path, overrides: Sequence[str] = (), *, by_path: bool = False
) -> tuple[ExperimentConfig, DataList]:
    """Experiment and cases of a run that is to be resumed, as its folder holds them.

    Args:
        run: The folder.
        overrides: Words `key=value`. Of those that name a data list or its root, the list is read
            that the config names; else the one in the folder, or in that of its first fold.
        by_path: The experiment names that list, for other processes, which read it by its config.

    Raises:
        CheckpointError: If the folder holds no run.
        ConfigError, DataListError: If its files cannot be read, or an override is not valid.
    """
    if not (run / CONFIG_FILE).is_file():
        raise CheckpointError(
            f"{run} holds no run, as it has no {CONFIG_FILE}", remedy="check the path", path=run
        )
    config = load_config(run / CONFIG_FILE, overrides)
    elsewhere = {"data.data_list", "data.data_root"} & {word.split("=")[0] for word in overrides}
    # The folder of several folds has a config alone.
    lists = (run / DATA_LIST_FILE, *sorted(run.glob(f"fold*/{DATA_LIST_FILE}")))
    kept = next((path for path in lists if path.is_file()), None)
    if elsewhere or kept is None:
        return config, read_data_list(config.data.data_list, config.data.data_root)
    if by_path:
        data = config.data.model_copy(update={"data_list": kept, "data_root": None})
        config = config.model_copy(update={"data": data})
    return config, read_data_list(kept)


def open_run(run: Path, config: ExperimentConfig, data_list: DataList, *, resume: bool) -> None:
    """Make the folder of a run, or check that it can go on, and describe the run in it.

    Args:
        run: The folder.
        config: The experiment, written with every option.
        data_list: Its cases, written with their folds.
        resume: Whether the run goes on.

    Raises:
        OutputError: If the folder holds a run already or cannot be written.
        CheckpointError: If there is nothing to resume, or it is another experiment.
    """
    if rank() != 0:
        # Lightning starts the command again for each further GPU, when rank 0 is past this.
        return
    check_run(run, config, data_list, resume=resume)
    resume = resume and bool(find_checkpoints(run))
    # Of a run that goes on, what describes it is replaced only where it says other things.
    make_output(run, _RESULTS if resume else _FILES)
    remove_unfinished(run / CHECKPOINTS, is_checkpoint)
    if not resume:
        _clear(run)
    before = _noted(run).get("sources") if resume else None
    _describe(run, config, data_list, before if isinstance(before, dict) else {})


def check_run(
    run: Path,
    config: ExperimentConfig,
    data_list: DataList,
    *,
    resume: bool,
    marks: Callable[[], Mapping[str, str]] | None = None,
) -> None:
    """Refuse a folder that cannot be trained into, or whose run cannot go on.

    Arguments as in `check_same_experiment`, and whether the run is to be resumed.

    Raises:
        OutputError: If the folder holds a run already.
        CheckpointError: If there is nothing to resume, or it is another experiment.
    """
    held, checkpoints = is_held(run), find_checkpoints(run)
    if resume and not checkpoints:
        if held or not is_ours(run / ENVIRONMENT):
            remedy = "choose another -o" if held else "start the run without --resume"
            raise CheckpointError(f"{run / CHECKPOINTS} holds no checkpoint", remedy=remedy)
        resume = False  # it was stopped before its first checkpoint, and begins anew
    if resume:
        check_same_experiment(run, config, data_list, marks)
        _check_same_preprocessing(run, config)
    elif held:
        remedy = f"resume it with: {resume_command(run)}, or choose" if checkpoints else "choose"
        raise OutputError(f"{run} already holds a run", remedy=f"{remedy} another -o", path=run)
    elif not is_ours(run / ENVIRONMENT):
        _check_free(run)
    else:
        check_outputs(run, _FILES)


def _check_free(run: Path) -> None:
    """Refuse a folder where a run would mix with what is there, with OutputError."""
    there = [name for name in (*_FILES, CHECKPOINTS, LOGS) if os.path.lexists(run / name)]
    if there:
        raise OutputError(
            f"{run} holds {there[0]}, but no run that volseg began",
            remedy="choose another -o",
            path=run,
        )


def is_held(run: Path) -> bool:
    """Whether a folder holds what must not be lost.

    A run that was stopped before its first epoch was whole holds nothing to go on from, though its
    first validation may have left a model.
    """
    if find_checkpoints(run) or is_finished(run):
        return True
    if not ((run / CHECKPOINTS).exists() or (run / MODEL_FILE).exists()):
        return False
    table = run / METRICS_FILE
    described = table.exists() and (run / ENVIRONMENT).exists()
    # The row of an epoch is written just before its checkpoint.
    return not described or len(read_metrics(table)) > 1


def _clear(run: Path) -> None:
    """Remove what a run left that was stopped before its first checkpoint."""
    for name in _RESULTS:
        remove(run / name)
    for folder in (run / LOGS, run / CHECKPOINTS):
        with contextlib.suppress(OSError):
            for path in list(folder.iterdir()):
                if is_log(path.name) and path.is_file():
                    path.unlink()
            folder.rmdir()  # unless it holds other things


def common_root(data_list: DataList) -> Path:
    """Deepest folder that holds every file of a list."""
    cases = data_list.cases()
    files = [path for case in cases for path in (*case.images, *case.label)]
    return Path(os.path.commonpath([path.parent for path in files]))


def check_same_experiment(
    run: Path,
    config: ExperimentConfig,
    data_list: DataList,
    marks: Callable[[], Mapping[str, str]] | None = None,
) -> None:
    """Refuse to go on with a run under another config or data list.

    Args:
        run: The folder.
        config: The experiment.
        data_list: Its cases.
        marks: Gives the marks of the cases, of which every label map is read, for callers that
            check several runs of one list.

    Raises:
        CheckpointError: If an option that decides the result, or a case, is another.
    """
    before = dict(_flat(load_config(run / CONFIG_FILE).to_dict()))
    now = dict(_flat(config.to_dict()))
    changed = [
        key
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and key not in _FREE and not key.startswith("slurm.")
    ]
    if _cases(read_data_list(run / DATA_LIST_FILE)) != _cases(data_list):
        changed.append("data list")
    if changed:
        raise CheckpointError(
            f"the run in {run} has another {', '.join(changed)} than this config",
            remedy=(
                f"resume it as it was started, with: {resume_command(run)}, or start a new run "
                "with -o"
            ),
        )
    _check_same_images(run, data_list, marks)
    trained = max((int(row["epoch"]) for row in read_metrics(run / METRICS_FILE)), default=0)
    if trained > config.training.max_epochs:
        raise CheckpointError(
            f"the run in {run} has trained {trained} epochs, but training.max_epochs is "
            f"{config.training.max_epochs}",
            remedy=f"give {trained} or more, or start a new run with -o",
        )


def _check_same_images(
    run: Path, data_list: DataList, marks: Callable[[], Mapping[str, str]] | None
) -> None:
    """Refuse cases whose files hold other things than when the run began, are gone or came since.

    The best model is chosen by scores, which compare only over the same cases.
    """
    before = _noted(run).get("sources")
    if not isinstance(before, dict):
        return  # runs of the first versions did not note it
    now = marks() if marks else case_marks(data_list.training)
    others = {name for name in before.keys() & now.keys() if now[name] != before[name]}
    # A case that could not be read when the run began has no mark, and was left out.
    for cases, how, remedy in (
        (before.keys() - now.keys(), "cannot be read now, but could", _READABLE),
        (now.keys() - before.keys(), "can be read now, but could not", ""),
        (others, "hold other images or label maps now than", ""),
    ):
        if cases:
            raise CheckpointError(
                f"{cases_in_words(len(cases))} of {len(data_list.training)}, such as "
                f"{min(cases)}, {how} when the run in {run} began",
                remedy=f"{remedy}start a new run with -o",
            )


def _check_same_preprocessing(run: Path, config: ExperimentConfig) -> None:
    """Refuse to resume on cases that come out otherwise than those the run began with."""
    digest = config.preprocessing.digest
    # Runs of the first versions did not note it.
    if _noted(run).get("preprocessing", digest) != digest:
        raise CheckpointError(
            f"the run in {run} was begun by a version of volseg that preprocesses otherwise than "
            "this one",
            remedy="resume with that version, or start a new run with -o",
        )


def note_end(run: Path, seconds: float) -> None:
    """Note in the folder that the run came to its end; `open_run` takes the note away again.

    Args:
        run: Folder of the run.
        seconds: How long the training took, since it was started or last resumed.
    """
    if rank() == 0:
        end = {"finished": True, "seconds": round(seconds, 1)}
        _write_json(run / ENVIRONMENT, {**_noted(run), **end})


def is_finished(run: Path) -> bool:
    """Whether `fit` came to the end of this run: last epoch, `max_time` or early stopping."""
    return _noted(run).get("finished") is True


def _noted(run: Path) -> dict[str, Any]:
    """What `_describe` and `note_end` wrote, as far as it can be read."""
    try:
        told = read_json(run / ENVIRONMENT, CheckpointError)
    except CheckpointError:
        return {}
    return told if isinstance(told, dict) else {}


def has_ended(run: Path, config: ExperimentConfig) -> bool:
    """Whether a run came to the end that this config sets."""
    if not is_finished(run):
        return False
    before, now = load_config(run / CONFIG_FILE).training, config.training
    return all(getattr(before, limit) == getattr(now, limit) for limit in _LIMITS)


def _describe(
    run: Path, config: ExperimentConfig, data_list: DataList, sources: Mapping[str, Any]
) -> None:
    """What one needs to know to repeat the run; `sources` is what was noted of its cases before."""
    new = case_marks(case for case in data_list.training if case.case_id not in sources)
    root = config.data.data_root or common_root(data_list)
    environment: dict[str, Any] = {
        "versions": {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "seed": config.training.seed,
        "preprocessing": config.preprocessing.digest,
        "git": _git_state(),
        "sources": {**new, **sources},
    }
    # First, since it tells that the folder is ours.
    _write_json(run / ENVIRONMENT, environment)
    # What says the same stays as it is: it may be what this run was started with.
    if not _says(lambda: load_config(run / CONFIG_FILE), config):
        with atomic_write(run / CONFIG_FILE) as temporary:
            write_config(temporary, config)
    if not _says(lambda: read_data_list(run / DATA_LIST_FILE), data_list):
        with atomic_write(run / DATA_LIST_FILE) as temporary:
            write_data_list(temporary, data_list, root)


def _says(read: Callable[[], object], expected: object) -> bool:
    """Whether a file can be read and tells the same."""
    try:
        return read() == expected
    except VolsegError:
        return False


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _git_state() -> dict[str, Any] | None:
    """Commit of the checkout that volseg runs from, or None for an installed one."""
    folder = Path(__file__).parent
    try:
        commit, changes = (
            subprocess.run(
                # Without a lock: a run that is killed just then must not leave one behind.
                ["git", "--no-optional-locks", "-C", str(folder), *words],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "uncommitted_changes": bool(changes)}


def _flat(options: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Options as `section.key` and value."""
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value


def _cases(data_list: DataList) -> list[tuple[Any, ...]]:
    return sorted((case.case_id, case.fold, case.labels or "") for case in data_list.training)
