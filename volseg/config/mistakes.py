"""Mistakes in a config, in words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from volseg.config.keys import full_key
from volseg.config.networks import NETWORKS
from volseg.words import cut, shown

# Longest line in characters; enough for the names of all options of a section.
_LONGEST = 600


def explain(detail: ErrorDetails, root: type[BaseModel]) -> list[str]:
    """One mistake found by pydantic, as lines `place: what was found`."""
    keys = [str(key) for key in detail["loc"]]
    network = None
    if keys[:1] == ["network"] and len(keys) > 1:
        network = keys.pop(1)  # pydantic puts the member of the union here
    place = ".".join(keys)
    found = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            text = f"unknown key; {_hint_of_key(root, keys, network)}"
        case "missing":
            text = "missing; add it"
        case "union_tag_not_found":
            text = f"name is missing; use one of {', '.join(NETWORKS)}"
        case "union_tag_invalid":
            name = detail["ctx"]["tag"]
            text = f"unknown network {shown(name)}; {_hint(name, NETWORKS)}"
        case "model_type" | "model_attributes_type":
            text = f"a section holds lines of `option: value`, got {shown(found)}"
        case "path_type":
            text = f"give a path, got {shown(found)}"
        case "value_error":
            text = detail["msg"].removeprefix("Value error, ")
        case "too_short" if len(found) >= detail["ctx"]["min_length"]:
            text = ""  # pydantic counts only valid items, and reports invalid items separately
        case _:
            text = detail["msg"].replace("tuple", "list").replace("Tuple", "List")
            text = text[0].lower() + text[1:]
            text += "" if isinstance(found, Mapping | list | tuple) else f", got {shown(found)}"
    return [cut(f"{place}: {line}" if place else line, _LONGEST) for line in text.splitlines()]


def _hint(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"


def _hint_of_key(root: type[BaseModel], keys: Sequence[str], network: str | None) -> str:
    *section, name = keys
    meant = None if network else full_key(name, root)
    if meant and section != meant.split(".")[:-1]:
        return f"did you mean {meant!r}?"
    return _hint(name, _keys_beside(root, keys, network))


def _keys_beside(root: type[BaseModel], keys: Sequence[str], network: str | None) -> list[str]:
    """Names of the options in the section of the unknown key that `keys` ends with."""
    model: Any = root
    for key in keys[:-1]:
        model = NETWORKS[network] if network else model.model_fields[key].annotation
    return list(model.model_fields)
