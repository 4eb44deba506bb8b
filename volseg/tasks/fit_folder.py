"""`volseg fit FOLDER`: a data list, as by `split`, and a default config for a first training."""

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
    """Write a data list of a folder of scans and a config for it, both beside the run.

    Args:
        scans: Folder of scans.
        run: Folder of the run; the list is `<run>.json`, and the config `<run>.yaml`.
        labels: Label scheme of all label maps; None: found from names and values of the files.

    Returns:
        The config, and the result of `split`; None instead of the result on ranks above 0.

    Raises:
        ConfigError: If torchrun has started this process.
        OutputError: If the folder holds a run, or another config exists already.
        VolsegError: As for `split`.
    """
    config, data_list = (run.with_name(run.name + ending) for ending in (".yaml", ".json"))
    if launched_by_torchrun():
        raise ConfigError(
            "fit with a folder of scans does not work under torchrun",
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
    """Write a config; an existing file is never replaced, and refused if it differs."""
    if path.exists():
        if path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text:
            return
        raise OutputError(
            f"{path} is there already and differs from the default config for these scans",
            remedy=f"train with that config: volseg fit {path}, or choose another -o",
        )
    make_folder(path.parent, "choose another -o")
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
