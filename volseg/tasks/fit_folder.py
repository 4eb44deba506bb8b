"""`volseg fit FOLDER`: what `split` does and a default config, for a first training."""

from __future__ import annotations

import logging
from pathlib import Path

from volseg.errors import ConfigError, OutputError
from volseg.files.writing import atomic_write, make_folder, resume_command
from volseg.ranks import launched_by_torchrun, rank
from volseg.runs.default_config import default_config
from volseg.runs.folder import is_held
from volseg.tasks.split import SplitResult, split

logger = logging.getLogger(__name__)


def split_and_configure(
    scans: Path, run: Path, labels: str | None = None
) -> tuple[Path, SplitResult | None]:
    """Write a data list of a folder of scans, and a config for it, both beside the run.

    Args:
        scans: Folder of scans.
        run: Folder of the run; the list is `<run>.json`, and the config `<run>.yaml`.
        labels: Label scheme of all label maps; None: decided by names and values of files.

    Returns:
        The config, and how the list came about; None where rank 0 has written both.

    Raises:
        ConfigError: If torchrun has started this process beside others.
        OutputError: If the folder holds a run, or the config is there and is another.
        VolsegError: As `split`.
    """
    config, data_list = (run.with_name(run.name + ending) for ending in (".yaml", ".json"))
    if launched_by_torchrun():
        raise ConfigError(
            "processes of torchrun cannot share the scans out",
            remedy=f"call volseg split {scans} -o {data_list} first, then train with a config",
        )
    if rank() > 0:
        return config, None
    if is_held(run):
        raise OutputError(
            f"{run} already holds a run",
            remedy=f"resume it with: {resume_command(run)}, or choose another -o",
        )
    found = split([scans], data_list, labels=labels)
    _write(config, default_config(found.data_list, data_list))
    return config, found


def _write(path: Path, text: str) -> None:
    """Write a config, unless it is there already; that of a user stays."""
    if path.exists():
        if path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text:
            return
        raise OutputError(
            f"{path} is there already, and is another config than that of these scans",
            remedy=f"train with it: volseg fit {path}, or choose another -o",
        )
    make_folder(path.parent, "choose another -o")
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
