"""Pages of the documentation: their blocks of code, and the commands in these."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from typer.main import get_command

from volseg.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language, text=README):
    """Code blocks of a Markdown text."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def parse(command):
    """Context of a command line, as the real command reads it, or an error."""
    name, *words = shlex.split(command)[1:]
    return get_command(app).commands[name].make_context(name, words)
