"""Pages of the documentation: their blocks of code, and the commands in these."""

from __future__ import annotations

import functools
import re
import shlex
import sys
import textwrap
from pathlib import Path

from typer.main import get_command

from volseg.cli import app

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    ROOT / ".github" / "CONTRIBUTING.md",
    *(ROOT / folder / "README.md" for folder in ("benchmarks", "data_lists", "docker")),
    *sorted(DOCS.rglob("*.md")),
]
#: Where commands stand: pages, and the comments of shipped configs.
DOCUMENTS = [*PAGES, *sorted((ROOT / "configs").glob("*.yaml"))]

sys.path.insert(0, str(DOCS))


def name_of(path):
    """Path of a page below the root, as a test is called by it."""
    return path.relative_to(ROOT).as_posix()


@functools.cache
def text_of(path):
    """Text of a page, with what a page of the site leaves to the code."""
    text = path.read_text(encoding="utf-8")
    if DOCS not in path.parents:
        return text
    from generated.pages import filled

    return filled(text, path.relative_to(DOCS).with_suffix("").as_posix())


def blocks(language, text=README):
    """Code blocks of a Markdown text, also of those in lists."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for _, block in found]


def commands_in(path):
    """Each line `volseg ...` of a page's shell blocks, or of a config's comments."""
    text = text_of(path)
    lines = "".join(blocks("bash", text)) if path.suffix == ".md" else text
    # What follows after several blanks explains the command.
    return re.findall(r"^(?:#   )?(volseg .*?)(?:   .*)?$", lines, re.MULTILINE)


def parse(command):
    """Context of a command line, as the real command reads it, or an error."""
    name, *words = shlex.split(command)[1:]
    return get_command(app).commands[name].make_context(name, words)
