"""Description of a run in its folder: versions, machine, sources of its cases, and its end."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from volseg.cases.data_list import DataList, read_data_list, write_data_list
from volseg.cases.sources import case_fingerprints
from volseg.config import ExperimentConfig, load_config, write_config
from volseg.errors import CheckpointError, VolsegError
from volseg.files.documents import read_json
from volseg.files.writing import CONFIG_FILE, DATA_LIST_FILE, atomic_write
from volseg.ranks import rank

ENVIRONMENT = "environment.json"

# Untracked files, such as data lists and runs in the checkout, do not change what volseg computes.
_OF_GIT = (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
_PACKAGES = ("volseg", "torch", "monai", "pytorch-lightning", "numpy", "nibabel")


def describe(
    run: Path, config: ExperimentConfig, data_list: DataList, sources: Mapping[str, Any]
) -> None:
    """Write config, data list and `environment.json` of a run.

    Args:
        run: Folder of the run.
        config: The experiment.
        data_list: The cases.
        sources: Fingerprints of the cases, recorded when the run began; empty for a new run.
    """
    new = case_fingerprints(case for case in data_list.training if case.case_id not in sources)
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
    # Written first, since it marks the folder as written by volseg.
    _write_json(run / ENVIRONMENT, environment)
    # Files with the same content are kept, since this run may have been started with them.
    if not _holds(lambda: load_config(run / CONFIG_FILE), config):
        with atomic_write(run / CONFIG_FILE) as temporary:
            write_config(temporary, config)
    if not _holds(lambda: read_data_list(run / DATA_LIST_FILE), data_list):
        with atomic_write(run / DATA_LIST_FILE) as temporary:
            write_data_list(temporary, data_list, root)


def read_description(run: Path) -> dict[str, Any]:
    """Content written by `describe` and `record_end`; empty if it cannot be read."""
    try:
        content = read_json(run / ENVIRONMENT, CheckpointError)
    except CheckpointError:
        return {}
    return content if isinstance(content, dict) else {}


def record_end(run: Path, seconds: float) -> None:
    """Record in the folder that the run is finished; `open_run` removes the record again.

    Args:
        run: Folder of the run.
        seconds: Duration of the training since its start or last resume.
    """
    if rank() == 0:
        end = {"finished": True, "seconds": round(seconds, 1)}
        _write_json(run / ENVIRONMENT, {**read_description(run), **end})


def is_finished(run: Path) -> bool:
    """Whether this run reached its end: last epoch, `max_time` or early stopping."""
    return read_description(run).get("finished") is True


def common_root(data_list: DataList) -> Path:
    """Deepest folder that holds every file of a list."""
    cases = data_list.cases()
    files = [path for case in cases for path in (*case.images, *case.label)]
    return Path(os.path.commonpath([path.parent for path in files]))


def _holds(read: Callable[[], object], expected: object) -> bool:
    """Whether a file can be read and has the expected content."""
    try:
        return read() == expected
    except VolsegError:
        return False


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _git_state() -> dict[str, Any] | None:
    """Commit of the checkout that volseg runs from; None if volseg is installed."""
    folder = Path(__file__).parent
    try:
        commit, changes = (
            subprocess.run(
                # Without a lock, which a killed run would leave behind.
                ["git", "--no-optional-locks", "-C", str(folder), *words],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for words in _OF_GIT
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "uncommitted_changes": bool(changes)}
