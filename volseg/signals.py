"""A stop asked for by a signal: noted at once, acted on only where nothing is left half done.

A cluster tells a job that its time is up by SIGUSR1 or SIGTERM, a person by Ctrl-C. What a handler
may do is little: it interrupts Python anywhere, in the middle of an import or while other ranks
wait for this one. So it sets a flag, and the loops over batches and cases look at it. Who asks
again will not wait: the second SIGINT or SIGTERM ends the process at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

#: Exit code after a stop in good order (EX_TEMPFAIL of sysexits.h): called again, the work goes on.
EXIT_STOPPED = 75
#: Exit code after Ctrl-C: 128 + SIGINT, as shells report it.
EXIT_INTERRUPTED = 130

#: What asks for a stop. Windows has no SIGUSR1.
STOPPING = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)
)

# One request may come twice: to each process of a group, and passed on by the one that started it.
_SECONDS_OF_ONE_REQUEST = 0.25


class _State:
    """Of the handlers, of which a process has one set."""

    received: signal.Signals | None = None
    #: Whether SIGTERM has come.
    terminated = False
    #: Shown at the first Ctrl-C.
    note = ""

    def __init__(self) -> None:
        self.unfinished: list[Callable[[], object]] = []


_state = _State()


class Stopped(BaseException):
    """The work was stopped by a signal, in good order; what is done is on disk.

    No `Exception`, as KeyboardInterrupt is none: who goes on after a failure must not go on now.
    """


def hold(note: str = "") -> None:
    """From now on the first of these signals is noted and does nothing else; to be called early.

    Args:
        note: What a person who presses Ctrl-C is told at once.
    """
    _state.note = note
    for number in STOPPING:
        signal.signal(number, _note)


def leave_at_once() -> None:
    """From now on Ctrl-C ends this process at once, with a line and without a traceback.

    For commands that have nothing to save yet. KeyboardInterrupt would come out of the middle of an
    import as another error, and be shown and forgotten where Python cannot raise.
    """
    signal.signal(signal.SIGINT, _leave)


def note_interrupts() -> None:
    """From now on there is something to save: where `leave_at_once` was said, Ctrl-C is noted."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, _note)


@contextlib.contextmanager
def removing(remove: Callable[[], object]) -> Iterator[None]:
    """Call `remove` if `leave_at_once` ends the process within the block.

    Args:
        remove: Takes away what the block has begun, such as an unfinished file.
    """
    _state.unfinished.append(remove)
    try:
        yield
    finally:
        _state.unfinished.remove(remove)


def ignore() -> None:
    """Ignore the signals in this process: one that ends with the process that started it."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def end() -> None:
    """The work is done, and its exit code is known: only a person can still end this process."""
    ignore()
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Let the signals wait, here and in processes begun meanwhile, until these handle them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def received() -> signal.Signals | None:
    """The first signal that was noted, or None."""
    return _state.received


def exit_code() -> int:
    """Exit code of a command that was stopped in good order."""
    return EXIT_INTERRUPTED if _state.received == signal.SIGINT else EXIT_STOPPED


def forget() -> None:
    """Take the default handlers back and forget what was noted."""
    for number in STOPPING:
        default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, default)
    _state.received, _state.terminated = None, False


def _note(number: int, _: FrameType | None) -> None:
    if number == signal.SIGTERM and _state.terminated:
        return  # the same request
    _state.received = _state.received or signal.Signals(number)
    if number == signal.SIGTERM:
        _state.terminated = True
        time.sleep(_SECONDS_OF_ONE_REQUEST)
    if number in (signal.SIGTERM, signal.SIGINT):
        # By the system from now on, which does not wait until Python has a turn.
        signal.signal(number, signal.SIG_DFL)
    if number == signal.SIGINT:
        _tell(_state.note)


def _leave(*_: object) -> None:
    for remove in list(_state.unfinished):
        with contextlib.suppress(Exception):
            remove()
    _tell("Error: interrupted\n")
    os._exit(EXIT_INTERRUPTED)


def _tell(words: str) -> None:
    """Write to stderr, but not by `print`, in which the signal may have come."""
    # A progress bar may have hidden the cursor.
    shown = "\x1b[?25h\r" if os.isatty(2) else ""
    with contextlib.suppress(OSError):
        os.write(2, f"{shown}{words}".encode())
