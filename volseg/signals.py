"""Stops by a signal: recorded at once, carried out only where no work is left half done.

A cluster stops a job by SIGUSR1 or SIGTERM, a person by Ctrl-C. A handler interrupts Python
anywhere, in the middle of an import or while other ranks wait for this one, so it only sets a flag;
the loops over batches and cases check the flag. The second SIGINT or SIGTERM ends the process at
once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

#: Exit code after a clean stop (EX_TEMPFAIL of sysexits.h): the same command resumes the work.
EXIT_STOPPED = 75
#: Exit code after Ctrl-C: 128 + SIGINT, as shells report it.
EXIT_INTERRUPTED = 130

#: Signals that ask for a stop. Windows has no SIGUSR1.
STOPPING = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)
)

# One request may arrive twice: from the system to each process of a group, and from the parent.
_SECONDS_OF_ONE_REQUEST = 0.25


class _State:
    """State of the signal handlers of this process."""

    received: signal.Signals | None = None
    #: Whether SIGTERM has come.
    terminated = False
    #: Shown at the first Ctrl-C.
    note = ""

    def __init__(self) -> None:
        self.unfinished: list[Callable[[], object]] = []


_state = _State()


class Stopped(BaseException):
    """The work was stopped cleanly by a signal; finished results are on disk.

    Not an `Exception`, like KeyboardInterrupt: code that continues after failures must stop here.
    """


def record(note: str = "") -> None:
    """Record the first stop signal from now on, without any other effect; call this early.

    Args:
        note: Text that Ctrl-C prints at once.
    """
    _state.note = note
    for number in STOPPING:
        signal.signal(number, _record)


def exit_at_once() -> None:
    """Let Ctrl-C end this process at once from now on, with one line and no traceback.

    For commands that have nothing to save yet. A KeyboardInterrupt inside an import becomes another
    error, and Python ignores it where it cannot raise. SIGTERM, unless it is recorded, still ends
    the process by the signal, but as Ctrl-C it first removes unfinished results.
    """
    signal.signal(signal.SIGINT, _exit)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def record_interrupts() -> None:
    """Record Ctrl-C from now on instead of leaving at once, since there is work to save."""
    if signal.getsignal(signal.SIGINT) is _exit:
        signal.signal(signal.SIGINT, _record)


@contextlib.contextmanager
def removing(remove: Callable[[], object]) -> Iterator[None]:
    """Call `remove` if `exit_at_once` ends the process within the block.

    Args:
        remove: Removes unfinished results of the block, such as a file.
    """
    _state.unfinished.append(remove)
    try:
        yield
    finally:
        _state.unfinished.remove(remove)


def ignore() -> None:
    """Ignore the signals in this process, which ends with its parent."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def end() -> None:
    """Ignore all signals but Ctrl-C: the work is done and its exit code is known."""
    ignore()
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def blocked(numbers: Sequence[signal.Signals] = STOPPING) -> Iterator[None]:
    """Delay the signals, here and in processes started meanwhile, until handlers are set."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def received() -> signal.Signals | None:
    """The first recorded signal, or None."""
    return _state.received


def exit_code() -> int:
    """Exit code of a command that was stopped cleanly."""
    return EXIT_INTERRUPTED if _state.received == signal.SIGINT else EXIT_STOPPED


def reset() -> None:
    """Restore the default handlers and clear the recorded signals."""
    for number in STOPPING:
        default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, default)
    _state.received, _state.terminated = None, False


def _record(number: int, _: FrameType | None) -> None:
    if number == signal.SIGTERM and _state.terminated:
        return  # the same request
    _state.received = _state.received or signal.Signals(number)
    if number == signal.SIGTERM:
        _state.terminated = True
        time.sleep(_SECONDS_OF_ONE_REQUEST)
    if number in (signal.SIGTERM, signal.SIGINT):
        # From now on the system handles it and does not wait for Python.
        signal.signal(number, signal.SIG_DFL)
    if number == signal.SIGINT:
        _print(_state.note)


def _terminate(*_: object) -> None:
    _remove_unfinished()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)


def _remove_unfinished() -> None:
    for remove in list(_state.unfinished):
        with contextlib.suppress(Exception):
            remove()


def _exit(*_: object) -> None:
    _remove_unfinished()
    _print("Error: interrupted\n")
    os._exit(EXIT_INTERRUPTED)


def _print(words: str) -> None:
    """Write to stderr without `print`, which the signal may have interrupted."""
    # A progress bar may have hidden the cursor.
    shown = "\x1b[?25h\r" if os.isatty(2) else ""
    with contextlib.suppress(OSError):
        os.write(2, f"{shown}{words}".encode())
