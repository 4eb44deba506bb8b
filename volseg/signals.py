"""A stop asked for by a signal: noted at once, acted on only where nothing is left half done.

A cluster tells a job that its time is up by SIGUSR1 or SIGTERM. What a handler may do is little: it
interrupts Python anywhere, in the middle of an import or while other ranks wait for this one. So it
sets a flag, and the loops over batches and cases look at it.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

#: Exit code after a stop in good order (EX_TEMPFAIL of sysexits.h): called again, the work goes on.
EXIT_STOPPED = 75

#: What asks for a stop. Windows has no SIGUSR1.
STOPPING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))


@dataclass
class _State:
    """Of the handlers, of which a process has one set."""

    received: signal.Signals | None = None


_state = _State()


class Stopped(BaseException):
    """The work was stopped by a signal, in good order; what is done is on disk.

    No `Exception`, as KeyboardInterrupt is none: who goes on after a failure must not go on now.
    """


def hold() -> None:
    """From now on SIGTERM and SIGUSR1 are noted and do nothing else; to be called early."""
    for number in STOPPING:
        signal.signal(number, _note)


def ignore() -> None:
    """Ignore the signals in this process: one that ends with the process that started it."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


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


def forget() -> None:
    """Take the default handlers back and forget what was noted."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)
    _state.received = None


def _note(number: int, _: FrameType | None) -> None:
    _state.received = _state.received or signal.Signals(number)
