"""Marks of options: facts that type and default of a field do not hold.

A field has marks as `Annotated[type, mark]`; `marked` finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from pydantic import BaseModel


class Resume(Enum):
    """The option may change when a run is resumed; options without this mark may not.

    On a section, the mark holds for all options of the section.
    """

    #: May change.
    FREE = auto()
    #: May change, and a finished run then trains on.
    LIMIT = auto()


class Inference(Enum):
    """What an option of `inference` means for regions and for several models."""

    #: Holds names of regions.
    NAMES_REGIONS = auto()
    #: Of several models, the option of the first one applies.
    OF_FIRST_MODEL = auto()


@dataclass(frozen=True)
class Idle:
    """The option has no effect under a condition; if it is set, a warning says so.

    Args:
        when: The condition, given the config.
        why: End of the sentence `<option>=<value> ...`; names in braces are options.
    """

    when: Callable[[Any], bool]
    why: str


@dataclass(frozen=True)
class Contradicts:
    """The option is refused, if set, under a condition.

    Args:
        when: The condition, given the config.
        why: End of the sentence `<option> is <value>, but ...`.
        remedy: What the user can do.
    """

    when: Callable[[Any], bool]
    why: str
    remedy: str


@dataclass(frozen=True)
class SetByJob:
    """A Slurm job sets the option.

    Args:
        source: Name of the attribute of `SlurmConfig` that holds the value.
    """

    source: str


@dataclass(frozen=True)
class Marked:
    """An option of a config with a mark.

    Attributes:
        key: `section.option`, or `section` if the mark is on the section.
        value: Value of the option.
        is_set: Whether the value differs from the default.
        mark: The mark.
    """

    key: str
    value: Any
    is_set: bool
    mark: Any


def marked(config: BaseModel, kind: type[Any], section: str = "") -> Iterator[Marked]:
    """Every option of a config with a mark of this kind, in the order of the config."""
    for name, field in type(config).model_fields.items():
        value, key = getattr(config, name), f"{section}{name}"
        is_set = field.is_required() or value != field.get_default(call_default_factory=True)
        for mark in field.metadata:
            if isinstance(mark, kind):
                yield Marked(key, value, is_set, mark)
        if isinstance(value, BaseModel):
            yield from marked(value, kind, f"{key}.")
