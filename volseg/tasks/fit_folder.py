"""`volseg fit FOLDER`: a data list, as by `split`, and a default config for a first training."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from volseg.cases.data_list import DataList
from volseg.config import ExperimentConfig, overridden
from volseg.errors import ConfigError, OutputError
from volseg.files.writing import atomic_write, make_folder, resume_command
from volseg.ranks import launched_by_torchrun, rank
from volseg.runs.default_config import default_config, possible_options
from volseg.runs.folder import is_held
from volseg.runs.folds import ALL, choose_folds
from volseg.survey.schemes import FROM_CONFIG
from volseg.tasks.split import SplitOptions, SplitResult, split

logger = logging.getLogger(__name__)


_FOLDS = 5


def check_overrides(
    scans: Path,
    run: Path,
    overrides: Sequence[str],
    folds: str | None = None,
    *,
    for_cpus: bool = False,
) -> ExperimentConfig:
    """Check overrides and folds before any scan is read.

    Args:
        scans: Folder of scans.
        run: Folder of the run.
        overrides: `key=value` words.
        folds: `all`, or numbers such as `0,2`; None: `data.fold` of the config.
        for_cpus: As in `split_and_configure`.

    Returns:
        A default config with the overrides, of which what the scans decide is not known yet.

    Raises:
        ConfigError: If the overrides suit neither volumes nor slices in any label scheme, or a fold
            cannot exist.
    """
    if f"labels={FROM_CONFIG}" in overrides:
        raise ConfigError(
            f"labels={FROM_CONFIG} leaves the label scheme to a config, but fit with a folder of "
            "scans writes the config itself",
            remedy="give the name of a scheme, or labels={name: ..., labels: ..., regions: ...}",
        )
    possible = possible_options(run.with_name(f"{run.name}.json"), for_cpus=for_cpus)
    experiment = _first_valid(scans, possible, overrides)
    chosen: tuple[int | None, ...] = (experiment.data.fold,)
    if folds is not None:
        chosen = () if folds == ALL else choose_folds(folds, DataList(run.name, (), ()))
    for fold in chosen:
        if fold is not None and fold not in range(_FOLDS):
            raise ConfigError(
                f"fold {fold} cannot exist, since a folder of scans is split into {_FOLDS} folds "
                "at most",
                remedy=f"choose from 0 to {_FOLDS - 1}",
            )
    return experiment


def _first_valid(
    scans: Path, possible: Iterable[Mapping[str, Any]], overrides: Sequence[str]
) -> ExperimentConfig:
    """The first possible default config that the overrides suit, else the error of the first."""
    errors = []
    for options in possible:
        try:
            return overridden(options, overrides, where=f"the default config for {scans}")
        except ConfigError as error:
            errors.append(error)
    raise errors[0]


def split_and_configure(
    scans: Path,
    run: Path,
    labels: str | Mapping[str, Any] | None = None,
    folder: Path | None = None,
    *,
    channels: Sequence[str] | None = None,
    for_cpus: bool = False,
    incomplete: bool = False,
) -> tuple[Path, SplitResult | None]:
    """Write a data list of a folder of scans and a config for it, both beside the run.

    Args:
        scans: Folder of scans.
        run: Folder of the run; the list is `<run>.json`, and the config `<run>.yaml`.
        labels: Label scheme of all label maps, by name or written out; None: found from names and
            values of the files.
        folder: Another folder for the list and the config, such as a temporary folder.
        channels: Channels to look for; None: those of BraTS, and for 2D slices of their layout.
        for_cpus: Whether the config is for volumes without a CUDA GPU.
        incomplete: Whether cases may lack channels.

    Returns:
        The config, and the result of `split`; None instead of the result on ranks above 0.

    Raises:
        ConfigError: If torchrun has started this process.
        OutputError: If the folder holds a run, or another config exists already.
        VolsegError: As for `split`.
    """
    beside = folder or run.parent
    config, data_list = (beside / f"{run.name}{ending}" for ending in (".yaml", ".json"))
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
    name = FROM_CONFIG if isinstance(labels, Mapping) else labels
    options = SplitOptions(fewer_folds=True, incomplete=incomplete)
    found = split([scans], data_list, _FOLDS, name, channels=channels, options=options)
    written = labels if isinstance(labels, Mapping) else None
    _write(config, default_config(found.data_list, data_list, written, for_cpus=for_cpus))
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
