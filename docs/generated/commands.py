"""Each command as its help shows it, read from Typer."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer

from generated.tables import table
from volseg.cli import app

_OPTION = re.compile(r"(?<![\w`-])(--[a-z][\w-]*(?:[= ][A-Z\d][\w/=]*)?)")


def commands() -> str:
    """Each command as its help shows it."""
    group = typer.main.get_command(app)
    context = typer.Context(group, info_name="volseg")
    return "\n\n".join(
        "\n\n".join(_command(command, typer.Context(command, parent=context, info_name=name)))
        for name, command in group.commands.items()
    )


def _command(command: Any, context: typer.Context) -> Iterator[str]:
    yield f"## `volseg {command.name}`"
    text, _, examples = inspect.cleandoc(command.help).partition("\n\nExample")
    yield _as_markdown(text)
    usage = re.sub("[{}]", "", command.get_usage(context).removeprefix("Usage: "))
    yield f"```text\n{usage}\n```"
    if examples:
        yield "Examples:"
        yield f"```bash\n{inspect.cleandoc(examples.partition(':')[2])}\n```"
    rows = [_parameter(parameter) for parameter in command.get_params(context)]
    yield table(("argument or option", "meaning", "default"), filter(None, rows))


def _parameter(parameter: Any) -> tuple[str, str, str] | None:
    if parameter.name == "help" or getattr(parameter, "hidden", False):
        return None
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    else:
        words = [*parameter.opts, *parameter.secondary_opts]
        value = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
        names = ", ".join(f"`{word}`" for word in words[:-1]) + ", " * (len(words) > 1)
        names += f"`{words[-1]}{value}`"
    return names, _as_markdown(parameter.help or ""), _default(parameter)


def _as_markdown(text: str) -> str:
    """Help as it reads in a terminal: options as code, and stars and underscores as they are."""
    spans = text.split("`")
    spans[::2] = [_OPTION.sub(r"`\1`", re.sub(r"[*_<]", r"\\\g<0>", prose)) for prose in spans[::2]]
    return "`".join(spans)


def _default(parameter: Any) -> str:
    shown = getattr(parameter, "show_default", None)
    if isinstance(shown, str):
        return _as_markdown(shown)
    if parameter.required:
        return "*required*"
    if parameter.default is None or isinstance(parameter.default, bool):
        return ""
    return f"`{parameter.default}`"
