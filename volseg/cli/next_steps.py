"""Command lines for the next steps after a command, ready to paste."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from volseg.cli.tables import say

#: Placeholders for paths of the user.
SCANS, REFERENCE, FOLDER, RUN = "SCANS", "REFERENCE", "FOLDER", "RUN"


def next_steps(steps: Mapping[str, Iterable[str]]) -> None:
    """Print command lines under their purposes, such as "train a network".

    Several purposes are choices, or steps in this order.
    """
    for number, (purpose, lines) in enumerate(steps.items()):
        say(f"{'Then' if number else 'Next'}, to {purpose}:")
        for line in lines:
            say(f"  {line}")


def line(*words: object) -> str:
    """A command line that a shell splits into these words; stars of patterns are not quoted."""
    return " ".join(_quoted(str(word)) for word in words)


def _quoted(word: str) -> str:
    return "*".join(shlex.quote(part) if part else "" for part in word.split("*")) or "''"
