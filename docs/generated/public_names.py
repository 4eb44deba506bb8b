"""The public names of volseg as directives of Sphinx, which reads their docstrings."""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import BaseModel

import volseg

#: Headings of the page of the public names, by the room that they come from.
_ROOMS = {
    "tasks": "Commands as functions",
    "inference": "Inference",
    "attribution": "Inference",
    "config": "Config",
    "finding": "Cases and images",
    "cases": "Cases and images",
    "images": "Cases and images",
    "labels": "Label schemes",
    "region_metrics": "Scores as torchmetrics",
    "transforms": "Transforms of MONAI",
    "errors": "Errors",
}


def api() -> str:
    """Every public name from its docstring, under a heading for each kind."""
    parts: dict[str, list[str]] = {}
    for name in volseg.__all__:
        thing = getattr(volseg, name)
        if callable(thing):
            heading = _ROOMS[thing.__module__.split(".")[1]]
            parts.setdefault(heading, []).append(_documented(name, thing))
    return "\n\n".join(
        "\n\n".join([f"## {heading}", "```{eval-rst}", *directives, "```"])
        for heading, directives in parts.items()
    )


def _documented(name: str, thing: Any) -> str:
    if not inspect.isclass(thing):
        return f".. autofunction:: volseg.{name}"
    options = ":members:"
    if any(base.__name__ in volseg.__all__ for base in thing.__mro__[1:]):
        options = ":show-inheritance:"  # its members are those of another entry
    elif issubclass(thing, BaseModel):
        options = ""  # what pydantic gives every model is no part of a config
    elif thing.__module__ == "volseg.region_metrics":
        options = ":members: update, compute"
    return f".. autoclass:: volseg.{name}\n   {options}"
