"""Sources of a comparison: run folders, folds to pool, and configs to train first."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.comparison.pooling import Folds, folds_within
from volseg.config import ExperimentConfig, load_config
from volseg.errors import ConfigError
from volseg.files.writing import CONFIG_FILE, MODEL_FILE
from volseg.metrics.record import SUMMARY_FILE

logger = logging.getLogger(__name__)

#: Folder of the runs that are trained for a comparison, within its output.
RUNS_FOLDER = "runs"
#: Folder of preprocessed cases, beside the runs of a folder.
CACHE_FOLDER = "cache"


@dataclass(frozen=True)
class Source:
    """A run folder or a config to compare.

    Attributes:
        name: Name of the run in the tables.
        folder: Folder of the scores, which for a config are still to come.
        given: Path as the user gave it.
        config: Config to train into `folder`; None for a run or scores of `evaluate`.
        folds: Folders of the folds to pool, of which `folder` is the first; empty for one run.
    """

    name: str
    folder: Path
    given: Path
    config: ExperimentConfig | None = None
    folds: tuple[Path, ...] = ()


def read_words(words: Sequence[str]) -> tuple[list[Path | Folds], list[str]]:
    """Sources and overrides among words of the command line.

    A word `NAME=RUN,RUN,...` stands for the folds of a cross-validation, unless NAME is the key of
    an option.

    >>> read_words(["runs/a", "b=runs/b0,runs/b1", "data.fold=1"])[1]
    ['data.fold=1']
    """
    sources: list[Path | Folds] = []
    overrides = []
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or Path(word).exists():
            sources.append(Path(word))
        elif "." in name or name in ExperimentConfig.model_fields:
            overrides.append(word)
        else:
            sources.append(Folds(name, tuple(Path(run) for run in value.split(","))))
    return sources, overrides


def plan_sources(
    given: Sequence[Path | Folds], output: Path, overrides: Sequence[str]
) -> list[Source]:
    """Source of each path, checked.

    Args:
        given: Run folders, folders that `evaluate` wrote, folders of the runs of folds, folds to
            pool, and configs.
        output: Folder of the comparison; configs are trained into `output/runs`.
        overrides: Words `key=value` for each config.

    Raises:
        ConfigError: If there are fewer than two paths, a path is neither run nor config, two paths
            have the same folder, a config is not valid, or overrides are given without a config.
    """
    paths = [source for source in given if isinstance(source, Path)]
    if len(given) < 2:
        raise ConfigError(
            f"found {len(given)} run or config to compare, expected two or more",
            remedy="give run folders or configs (.yaml)",
        )
    if overrides and not any(_is_config(path) for path in paths):
        raise ConfigError(
            f"{' '.join(overrides)} changes options of configs, but only run folders are given",
            remedy="leave it out",
        )
    cache = _shared_cache(paths, output)
    planned = []
    for source in given:
        if isinstance(source, Folds):
            planned.append(_of_folds(source))
        elif _is_config(source):
            planned.append(_with_cache(_of_config(source, output, overrides), cache))
        else:
            planned.append(_of_folder(source))
    _check_distinct(planned)
    names = Counter(source.name for source in planned)
    # Folders with the same name are distinguished by their path.
    return [
        source if names[source.name] == 1 else replace(source, name=str(source.folder))
        for source in planned
    ]


def _shared_cache(paths: Sequence[Path], output: Path) -> Path | None:
    """Existing cache of preprocessed cases, beside a given run or in the folder `runs`.

    A comparison that already has its own cache keeps it. An entry holds one case with one
    preprocessing, so a case that does not fit is preprocessed again.
    """
    if (output / RUNS_FOLDER / CACHE_FOLDER).is_dir():
        return None
    homes = [*(path.parent for path in paths if not _is_config(path)), Path(RUNS_FOLDER)]
    caches = [(home / CACHE_FOLDER).resolve() for home in homes]
    # In data.cache_dir a $ would start the name of a variable.
    usable = (c for c in caches if c.is_dir() and os.access(c, os.W_OK) and "$" not in str(c))
    return next(usable, None)


def _with_cache(source: Source, cache: Path | None) -> Source:
    """The source with the cache, unless its config names another cache."""
    config = source.config
    if cache is None or config is None or config.data.cache_dir is not None:
        return source
    logger.info("%s: preprocessed cases are read from %s if they are there", source.name, cache)
    data = config.data.model_copy(update={"cache_dir": str(cache)})
    return replace(source, config=config.model_copy(update={"data": data}))


def _check_distinct(planned: Sequence[Source]) -> None:
    """Raise ConfigError if two sources have the same folder."""
    first: dict[tuple[Path, ...], Source] = {}
    for source in planned:
        folders = source.folds or (source.folder,)
        other = first.setdefault(tuple(sorted(path.resolve() for path in folders)), source)
        if other is source:
            continue
        same_path = source.given.resolve() == other.given.resolve()
        if same_path or not (source.config or other.config):
            raise ConfigError(
                f"{source.given} is given twice", remedy="give each run once", path=source.given
            )
        if source.config and other.config:
            raise ConfigError(
                f"{other.given} and {source.given} would both be trained into {source.folder}",
                remedy="give configs with different names",
            )
        config, run = (source, other) if source.config else (other, source)
        raise ConfigError(
            f"{config.given} would be trained into {run.folder}, which is also given as a run",
            remedy="give only the config or only the run",
        )


def _is_config(path: Path) -> bool:
    return path.suffix.lower() in (".yaml", ".yml")


def _of_folds(folds: Folds) -> Source:
    if not folds.name or len(folds.runs) < 2:
        raise ConfigError(
            f"{folds} does not name folds to pool", remedy="write NAME=RUN,RUN,... with two or more"
        )
    for path in folds.runs:
        _check_folder(path)
    return Source(folds.name, folds.runs[0], Path(str(folds)), folds=folds.runs)


def _of_folder(path: Path) -> Source:
    _check_folder(path)
    folds = folds_within(path)
    return Source(path.resolve().name, folds[0] if folds else path, path, folds=folds)


def _check_folder(path: Path) -> None:
    if not path.exists():
        raise ConfigError(
            f"{path} does not exist", remedy="give run folders or configs (.yaml)", path=path
        )
    if not path.is_dir():
        is_inside = path.name in (MODEL_FILE, SUMMARY_FILE)
        raise ConfigError(
            f"{path} is neither a run folder nor a config (.yaml)",
            remedy="give the folder that it is in" if is_inside else "give run folders or configs",
            path=path,
        )


def _of_config(path: Path, output: Path, overrides: Sequence[str]) -> Source:
    if path.name == CONFIG_FILE and (path.parent / MODEL_FILE).is_file():
        raise ConfigError(
            f"{path} is the config of a run", remedy=f"give its folder, {path.parent}", path=path
        )
    config = load_config(path, overrides)
    options = config.training
    if options.devices == "auto":
        # Lightning would start the command again for each further GPU, with all its trainings.
        config = load_config(path, [*overrides, "training.devices=1"])
    elif options.devices > 1 or options.nodes > 1:
        raise ConfigError(
            f"{path} trains on {options.devices} devices of {options.nodes} nodes, but compare "
            "trains on one device",
            remedy="set training.devices=1, or train with volseg fit and compare the run folders",
            path=path,
        )
    return Source(path.stem, output / RUNS_FOLDER / path.stem, path, config)
