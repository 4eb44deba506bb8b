"""A YAML file of options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from volseg.errors import ConfigError


def read_yaml(path: Path) -> dict[str, Any]:
    """Options of a file; ConfigError if it cannot be read or holds none."""
    try:
        options = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())
        raise ConfigError(f"{path} is not YAML: {detail}; correct that line") from None
    if not isinstance(options, dict):
        raise ConfigError(f"{path} holds no options; see configs/ for examples")
    return options
