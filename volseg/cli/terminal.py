"""What commands print, made safe for a terminal, and quiet once nobody reads it any more."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from volseg.errors import OutputError
from volseg.words import reason

_NO_SPACE = {errno.ENOSPC, errno.EFBIG, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)}
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
    """Print a line; once its reader has gone, as in `volseg split ... | head -1`, to nowhere.

    Raises:
        OutputError: If stdout cannot be written, since the disk is full.
    """
    with written(stream):
        print(text, file=stream, flush=True)


@contextlib.contextmanager
def written(stream: TextIO) -> Iterator[None]:
    """As `put`, for a block that prints to a stream."""
    try:
        yield
    except BrokenPipeError:
        hush(stream)
    except OSError as error:
        if error.filename is not None or error.errno not in _NO_SPACE:
            raise
        hush(stream)  # else what waits to be written fails once more when Python ends
        # What cannot be said on stderr cannot be complained of either.
        if stream is not sys.stderr:
            raise OutputError(
                f"stdout cannot be written ({reason(error)})", remedy="send it where there is space"
            ) from None


def open_closed() -> None:
    """Let streams that the caller has closed, as `volseg ... >&-` does, lead to nowhere.

    Python has none then, and the next file that is opened would get what is printed by C code.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            try:
                os.fstat(number)
            except OSError:  # else another file has it already
                os.dup2(nowhere, number)
            setattr(sys, name, open(nowhere, "w" if name != "stdin" else "r", encoding="utf-8"))  # noqa: PTH123, SIM115


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
