"""What to do after a command, ready to paste."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from volseg.cli.tables import say

#: Stand for what the user has to name.
SCANS, REFERENCE, FOLDER = "SCANS", "REFERENCE", "FOLDER"


def next_steps(steps: Mapping[str, Iterable[str]]) -> None:
    """Print command lines by their purpose, such as "train a network", each on a line of its own.

    Where there is more than one purpose, the user may choose, or take one after the other.
    """
    for number, (purpose, lines) in enumerate(steps.items()):
        say(f"{'Then' if number else 'Next'}, to {purpose}:")
        for line in lines:
            say(f"  {line}")


def line(*words: object) -> str:
    """A command line of which a shell makes these words; the star of a pattern stays one."""
    return " ".join(_quoted(str(word)) for word in words)


def _quoted(word: str) -> str:
    return "*".join(shlex.quote(part) if part else "" for part in word.split("*")) or "''"
