"""Location of the cache of a run."""

from __future__ import annotations

import os
import re
from pathlib import Path

from volseg.config import ExperimentConfig
from volseg.errors import ConfigError


def cache_folder(config: ExperimentConfig, run: Path) -> Path:
    """Folder of preprocessed cases: `data.cache_dir`, else `cache` beside the run.

    Raises:
        ConfigError: If `data.cache_dir` names an environment variable that is not set.
    """
    named = config.data.cache_dir
    if named is None:
        return run.parent / "cache"
    for name in re.findall(r"\$\{?(\w+)", named):
        if not os.environ.get(name):
            raise ConfigError(
                f"data.cache_dir {named} names the environment variable {name}, which is not set "
                "here",
                remedy="set it, or give another folder",
            )
    return Path(os.path.expandvars(named)).expanduser()
