"""Output of commands: made safe for a terminal, and silent after its reader has gone."""

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
    r"""Text with all characters visible: characters that would control a terminal are escaped.

    File names may hold colours, cursor movements, a change of direction, line breaks or bytes that
    are no character. A line break before an indented line is kept, since volseg writes those.

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
    """Print a line; nothing happens if the reader has gone, as in `volseg split ... | head -1`.

    Raises:
        OutputError: If stdout cannot be written because the disk is full.
    """
    with written(stream):
        print(text, file=stream, flush=True)


@contextlib.contextmanager
def written(stream: TextIO) -> Iterator[None]:
    """Treat errors of a block that prints to a stream as `put` does."""
    try:
        yield
    except BrokenPipeError:
        hush(stream)
    except OSError as error:
        if error.filename is not None or error.errno not in _NO_SPACE:
            raise
        hush(stream)  # otherwise buffered text fails again when Python ends
        # An error of stderr cannot be reported on stderr.
        if stream is not sys.stderr:
            raise OutputError(
                f"stdout cannot be written ({reason(error)})", remedy="send it where there is space"
            ) from None


def open_closed() -> None:
    """Connect streams that the caller has closed, as in `volseg ... >&-`, to the null device.

    Otherwise the next opened file would take the stream's number and receive the output of C code.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            try:
                os.fstat(number)
            except OSError:  # without an error, another file already has this number
                os.dup2(nowhere, number)
            setattr(sys, name, open(nowhere, "w" if name != "stdin" else "r", encoding="utf-8"))  # noqa: PTH123, SIM115


def hush(stream: TextIO) -> None:
    """Send everything that is still written to a stream without a reader to the null device."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123  (it is no path)
        os.dup2(nowhere.fileno(), stream.fileno())


def console(stream: TextIO, width_in_files: int | None = None) -> Any:
    """A console of rich that does not end the command if its reader has gone.

    A file or a pipe has no width, so nothing is folded there without `width_in_files`.
    """
    from rich.console import Console

    class QuietConsole(Console):
        def on_broken_pipe(self) -> None:
            hush(stream)

    return QuietConsole(file=stream, width=None if stream.isatty() else width_in_files or 10_000)
