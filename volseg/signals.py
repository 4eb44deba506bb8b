"""A stop asked for by a signal: noted at once, acted on only where nothing is left half done.

A cluster tells a job that its time is up by SIGUSR1 or SIGTERM. What a handler may do is little: it
interrupts Python anywhere, in the middle of an import or while other ranks wait for this one. So it
sets a flag, and the loops over batches and cases look at it.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from types import FrameType

#: Exit code after a stop in good order (EX_TEMPFAIL of sysexits.h): called again, the work goes on.
EXIT_STOPPED = 75

# Windows has no SIGUSR1.
_SIGNALS = {getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)}


@dataclass
class _State:
    """Of the handlers, of which a process has one set."""

    holding: bool = False
    received: signal.Signals | None = None


_state = _State()


class Stopped(Exception):
    """The work was stopped by a signal, in good order; what is done is on disk."""


def hold() -> None:
    """From now on SIGTERM and SIGUSR1 are noted and do nothing else; to be called early."""
    _state.holding = True
    restore()


def restore() -> None:
    """Put the handlers back that a library replaced since `hold`, and take what was blocked."""
    if _state.holding:
        for number in _SIGNALS:
            signal.signal(number, _note)
        _mask(signal.SIG_UNBLOCK)


def block() -> None:
    """Let the signals wait while a library has handlers of its own; `restore` ends it."""
    if _state.holding:
        _mask(signal.SIG_BLOCK)


def ignore() -> None:
    """Ignore the signals in this process: one that ends with the process that started it."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def received() -> signal.Signals | None:
    """The first signal that was noted, or None."""
    return _state.received


def forget() -> None:
    """Take the default handlers back and forget what was noted."""
    _state.holding, _state.received = False, None
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    _mask(signal.SIG_UNBLOCK)


def _note(number: int, _: FrameType | None) -> None:
    _state.received = _state.received or signal.Signals(number)


def _mask(how: int) -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(how, _SIGNALS)
