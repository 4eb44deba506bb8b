"""Every option of a config in words: its type, default and meaning, read from its `Field`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic.fields import FieldInfo

from generated.tables import table
from volseg.config import ExperimentConfig, NetworkConfig
from volseg.config.marks import Resume
from volseg.config.section import MOST
from volseg.labels import LabelScheme

_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "`null`",
}
_RESUME = {
    Resume.FREE: "*may change on resume*",
    Resume.LIMIT: "*may change on resume; a finished run then trains on*",
}
_LIMITS = {
    "ge": "at least",
    "minimum": "at least",
    "gt": "above",
    "exclusiveMinimum": "above",
    "le": "at most",
    "maximum": "at most",
    "lt": "below",
    "exclusiveMaximum": "below",
}


@dataclass(frozen=True)
class Option:
    """An option, as a table shows it."""

    key: str
    type: str
    default: str
    meaning: str


@dataclass(frozen=True)
class SectionOfOptions:
    """A section of a config, or the options of one network."""

    name: str
    meaning: str
    options: tuple[Option, ...]


def sections() -> Iterator[SectionOfOptions]:
    """Every section in the order of a config; of `network`, the options of each network."""
    fields = ExperimentConfig.model_fields
    alone = [_option(name, name, field, {}) for name, field in fields.items() if _is_alone(field)]
    yield SectionOfOptions("labels", "The one option outside of a section.", tuple(alone))
    for name, field in fields.items():
        if name == "network":
            for network in get_args(get_args(NetworkConfig)[0]):
                named = f"network, {network.model_fields['name'].default}"
                yield _section(named, "network", network)
        elif not _is_alone(field):
            yield _section(name, name, field.annotation)


def _is_alone(field: FieldInfo) -> bool:
    return field.annotation is LabelScheme


def _section(name: str, prefix: str, model: Any) -> SectionOfOptions:
    schema = model.model_json_schema()
    found = tuple(
        _option(f"{prefix}.{key}", key, field, schema)
        for key, field in model.model_fields.items()
        if "const" not in schema["properties"][key]
    )
    return SectionOfOptions(name, inspect.getdoc(model) or "", found)


def _option(key: str, name: str, field: FieldInfo, schema: Mapping[str, Any]) -> Option:
    form = schema.get("properties", {}).get(name, {"type": "string"})
    required = field.is_required()
    default = (
        "*required*" if required else f"`{_yaml(field.get_default(call_default_factory=True))}`"
    )
    marks = [_RESUME[mark] for mark in field.metadata if isinstance(mark, Resume)]
    meaning = "; ".join(filter(None, [field.description, *marks]))
    return Option(key, _in_words(form), default, meaning)


def _in_words(form: Mapping[str, Any], plural: str = "") -> str:
    """A JSON schema as a reader says it: `whole number above 0, or null`."""
    if "anyOf" in form:
        return ", or ".join(_in_words(part) for part in form["anyOf"])
    if choices := form.get("enum") or [form[key] for key in ("const",) if key in form]:
        *first, last = [f"`{_yaml(choice)}`" for choice in choices]
        return f"{', '.join(first)} or {last}" if first else last
    if form["type"] == "array":
        return _list_in_words(form)
    if form["type"] == "object":
        return f"name: {_in_words(form['additionalProperties'])}"
    limits = [
        f"{words} {_yaml(form[limit])}"
        for limit, words in _LIMITS.items()
        if limit in form and form[limit] != MOST
    ]
    kind = "path" if form.get("format") == "path" else _TYPES[form["type"]]
    return " ".join(filter(None, [kind + plural, " and ".join(limits)]))


def _list_in_words(form: Mapping[str, Any]) -> str:
    item = form.get("items") or form["prefixItems"][0]
    low, high = form.get("minItems"), form.get("maxItems")
    count = f"{low} " if low == high and low else f"{low} to {high} " if high else ""
    plural = "" if item["type"] == "string" else "s"
    return f"list of {count}{_in_words(item, plural)}"


def _yaml(value: object) -> str:
    """A value as it is written in a config."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def options() -> str:
    """Every option of a config, by section, and every network's."""
    return "\n\n".join(
        f"## `{section.name}`\n\n{section.meaning}\n\n"
        + table(
            ("option", "type", "default", "meaning"),
            (
                (f"`{option.key}`", option.type, option.default, option.meaning)
                for option in section.options
            ),
        )
        for section in sections()
    )


def slurm_options() -> str:
    """Keys of `--slurm`."""
    (section,) = (section for section in sections() if section.name == "slurm")
    keys = ((f"`{o.key.partition('.')[2]}`", o.meaning, o.default) for o in section.options)
    return table(("key", "meaning", "default"), keys)
