"""What commands print, made safe for a terminal, and quiet once nobody reads it any more."""

from __future__ import annotations

import os
import re
from typing import Any, TextIO

_NEW_LINE = re.compile(r"\n(?!  )")


def visible(text: str) -> str:
    r"""Text of which a terminal shows every character: those that would change it are escaped.

    Names of files may hold colours, movements of the cursor, a change of direction, new lines or
    bytes that are no character. Lines of our own that follow the first are indented, and stay.

    >>> print(visible("\x1b[2Jsub-01\n.nii, \u202eall of it:\n  one"))
    \x1b[2Jsub-01\n.nii, \u202eall of it:
      one
    """
    if text.isprintable():
        return text
    escaped = _NEW_LINE.sub(r"\\n", text)
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in escaped
    )


def put(text: str, stream: TextIO) -> None:
    """Print a line; once its reader has gone, as in `volseg split ... | head -1`, to nowhere."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        hush(stream)


def hush(stream: TextIO) -> None:
    """Let all that is still written to a stream without a reader go to nowhere."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123  (it is no path)
        os.dup2(nowhere.fileno(), stream.fileno())


def console(stream: TextIO) -> Any:
    """A console of rich that does not end the command when its reader has gone."""
    from rich.console import Console

    class QuietConsole(Console):
        def on_broken_pipe(self) -> None:
            hush(stream)

    # A file or a pipe has no width: nothing is folded there.
    return QuietConsole(file=stream, width=None if stream.isatty() else 10_000)
