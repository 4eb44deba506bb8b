"""A YAML file of options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from volseg.errors import ConfigError
from volseg.files.documents import parse_yaml
from volseg.files.documents import read_yaml as read_document
from volseg.words import shown


def read_yaml(path: Path) -> dict[str, Any]:
    """Options of a file; ConfigError if it cannot be read or holds no options."""
    options = read_document(path, ConfigError)
    if not isinstance(options, dict):
        found = "" if options is None else f", but {shown(options)}"
        raise ConfigError(
            f"{path} holds no options{found}", remedy="see configs/ for examples", path=path
        )
    return options


def read_word(text: str, word: str) -> Any:
    """YAML value of the text in an override `key=text`; ConfigError names an invalid word."""
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"override {shown(word)}: {error}", remedy="give a YAML value") from None
