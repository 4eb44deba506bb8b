"""What is to be compared: run folders, and configs that are trained first."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.config import ExperimentConfig, load_config
from volseg.errors import ConfigError
from volseg.files.writing import CONFIG_FILE, MODEL_FILE
from volseg.metrics.record import SUMMARY_FILE

logger = logging.getLogger(__name__)

#: Folder of the runs that are trained for a comparison, within its output.
RUNS_FOLDER = "runs"
#: Folder of decoded cases, beside the runs of a folder.
CACHE_FOLDER = "cache"


@dataclass(frozen=True)
class Source:
    """One thing to compare.

    Attributes:
        name: What it is called in the tables.
        folder: Where its scores are, or will be.
        config: What is to be trained into `folder`; None: a run, or what `evaluate` wrote.
        given: The path as it was given.
    """

    name: str
    folder: Path
    given: Path
    config: ExperimentConfig | None = None


def plan_sources(paths: Sequence[Path], output: Path, overrides: Sequence[str]) -> list[Source]:
    """What each path is.

    Args:
        paths: Run folders, folders that `evaluate` wrote, and configs.
        output: Folder of the comparison; configs are trained into `output/runs`.
        overrides: Words `key=value` for every config.

    Raises:
        ConfigError: If there are fewer than two, one is neither run nor config, two are one, a
            config is not valid, or there are overrides without a config.
    """
    if len(paths) < 2:
        raise ConfigError(
            f"found {len(paths)} run or config to compare",
            remedy="give two or more run folders or configs (.yaml)",
        )
    if overrides and not any(_is_config(path) for path in paths):
        raise ConfigError(
            f"{' '.join(overrides)} changes options of configs, but only run folders are given",
            remedy="leave it out",
        )
    cache = _cache_there(paths, output)
    planned = [
        _with_cache(_of_config(path, output, overrides), cache)
        if _is_config(path)
        else _of_folder(path)
        for path in paths
    ]
    _check_distinct(planned)
    names = Counter(source.name for source in planned)
    # Folders of one name are told apart by their path.
    return [
        source if names[source.name] == 1 else replace(source, name=str(source.folder))
        for source in planned
    ]


def _cache_there(paths: Sequence[Path], output: Path) -> Path | None:
    """A cache of decoded cases beside a given run or where `volseg fit` has it, to be shared.

    A comparison that has begun one of its own keeps it. Entries are of a case and its
    preprocessing, so that what does not fit is decoded anew.
    """
    if (output / RUNS_FOLDER / CACHE_FOLDER).is_dir():
        return None
    homes = [*(path.parent for path in paths if not _is_config(path)), Path(RUNS_FOLDER)]
    caches = [(home / CACHE_FOLDER).resolve() for home in homes]
    # In data.cache_dir a $ would begin the name of a variable.
    usable = (c for c in caches if c.is_dir() and os.access(c, os.W_OK) and "$" not in str(c))
    return next(usable, None)


def _with_cache(source: Source, cache: Path | None) -> Source:
    """The source with that cache, unless its config names one."""
    config = source.config
    if cache is None or config is None or config.data.cache_dir is not None:
        return source
    logger.info("%s: decoded cases are taken from %s, as far as they are there", source.name, cache)
    data = config.data.model_copy(update={"cache_dir": str(cache)})
    return replace(source, config=config.model_copy(update={"data": data}))


def _check_distinct(planned: Sequence[Source]) -> None:
    """Refuse two sources of one folder, with ConfigError."""
    first: dict[Path, Source] = {}
    for source in planned:
        other = first.setdefault(source.folder.resolve(), source)
        if other is source:
            continue
        if source.given.resolve() == other.given.resolve():
            raise ConfigError(
                f"{source.given} is given twice", remedy="give each run once", path=source.given
            )
        if source.config and other.config:
            raise ConfigError(
                f"{other.given} and {source.given} would both be trained into {source.folder}",
                remedy="give configs of different names",
            )
        config, run = (source, other) if source.config else (other, source)
        raise ConfigError(
            f"{config.given} would be trained into {run.folder}, which is given as a run as well",
            remedy="give one of the two",
        )


def _is_config(path: Path) -> bool:
    return path.suffix.lower() in (".yaml", ".yml")


def _of_folder(path: Path) -> Source:
    if not path.exists():
        raise ConfigError(
            f"{path} does not exist", remedy="give run folders or configs (.yaml)", path=path
        )
    if not path.is_dir():
        is_inside = path.name in (MODEL_FILE, SUMMARY_FILE)
        raise ConfigError(
            f"{path} is neither a run folder nor a config (.yaml)",
            remedy="give the folder that it is in" if is_inside else "give those to compare",
            path=path,
        )
    return Source(path.resolve().name, path, path)


def _of_config(path: Path, output: Path, overrides: Sequence[str]) -> Source:
    if path.name == CONFIG_FILE and (path.parent / MODEL_FILE).is_file():
        raise ConfigError(
            f"{path} is the config of a run", remedy=f"give its folder, {path.parent}", path=path
        )
    config = load_config(path, overrides)
    options = config.training
    if options.devices == "auto":
        # Lightning starts the whole command again for each further GPU, trained runs included.
        config = load_config(path, [*overrides, "training.devices=1"])
    elif options.devices > 1 or options.nodes > 1:
        raise ConfigError(
            f"{path} trains on {options.devices} devices of {options.nodes} nodes, and compare on "
            "one",
            remedy="set training.devices=1, or train with volseg fit and compare the run folders",
            path=path,
        )
    return Source(path.stem, output / RUNS_FOLDER / path.stem, path, config)
