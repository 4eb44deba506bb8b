"""Work in other processes: they log as this one does, end with it, and one that is killed is named.

Processes are spawned: a forked process would hold locks of threads, such as that of a progress bar.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import TypeVar

from volseg import signals

Item = TypeVar("Item")
Result = TypeVar("Result")

_PACKAGE = "volseg"
# Numbers of threads that libraries read from the environment when they are imported.
_THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


_MEMORY = "use a machine or a job with more memory"
_GUARD = 'in a script, call volseg below the line `if __name__ == "__main__":`'


# Where this process tells what it does; None: nobody listens.
_listener: Connection | None = None


class NoProcessError(Exception):
    """A process ended before it was ready, or could not be started.

    Attributes:
        remedy: What may help.
    """

    def __init__(self, problem: str, remedy: str = _MEMORY) -> None:
        super().__init__(problem)
        self.remedy = remedy


class ProcessKilledError(Exception):
    """The process of an item was killed, as happens where memory runs out."""


@contextmanager
def ready_pool(
    processes: int, threads: int | None = None, listener: Connection | None = None
) -> Iterator[ProcessPoolExecutor]:
    """Processes that are ready; NoProcessError if there are none.

    Args:
        processes: Their number.
        threads: Threads that numeric libraries use in each of them; None: as they choose.
        listener: Where they `tell` what they do; None: nowhere.
    """
    level = logging.getLogger(_PACKAGE).getEffectiveLevel()
    spawn = multiprocessing.get_context("spawn")
    # Python's process that frees semaphores would complain after Ctrl-C, though it frees them.
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")
    try:
        pool = ProcessPoolExecutor(processes, spawn, _begin, (level, threads, listener))
    finally:
        sys.warnoptions.pop()
    started: list[multiprocessing.process.BaseProcess] = []
    try:
        try:
            # Ctrl-C reaches all processes; this one ends the others.
            with signals.blocked([signal.SIGINT]):
                ready = pool.submit(os.getpid)
                started = multiprocessing.active_children()
            ready.result()
        except BrokenProcessPool:
            # Each process reads the script again; a script without the guard starts others then,
            # which Python refuses. A killed process has a negative code. The codes are known once
            # the pool has waited for the processes.
            pool.shutdown()
            if any(process.exitcode == 1 for process in started):
                raise NoProcessError(
                    "a process ended with an error, printed above, while it read the script again",
                    remedy=_GUARD,
                ) from None
            raise NoProcessError(
                f"one of {processes} processes was killed while it started, as happens where "
                "memory runs out"
            ) from None
        except OSError as error:
            raise NoProcessError(f"no process starts ({error})") from None
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def submitted(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], item: Item
) -> Future[tuple[Result, list[logging.LogRecord]]]:
    """A call in a process of a pool, whose result `delivered` gives."""
    return pool.submit(_logged, function, item)


def delivered(future: Future[tuple[Result, list[logging.LogRecord]]]) -> Result:
    """The result of a call by `submitted`; what was logged meanwhile is logged here."""
    result, records = future.result()
    for record in records:
        logging.getLogger(record.name).handle(record)
    return result


def each_alone(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    threads: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    told: Callable[[int, str], None] = lambda _number, _words: None,
) -> Iterator[tuple[int, Result | ProcessKilledError]]:
    """Results by number of the item, as they come, each from a process of its own.

    So the peak memory of a process is that of its item, and a process that is killed costs its item
    alone.

    Args:
        function: What is called; importable in another process.
        items: Its arguments.
        workers: Most processes at once.
        threads: See `ready_pool`.
        stop: Function called before each item; once it returns True, no further item begins.
        told: Function called in a thread with the number of an item and what its process `tell`s.

    Raises:
        NoProcessError: If no process starts.
    """

    def alone(number: int, item: Item) -> list[Result | ProcessKilledError]:
        if stop():
            return []
        try:
            with (
                _listening(partial(told, number)) as sender,
                ready_pool(1, threads, sender) as pool,
            ):
                return [delivered(submitted(pool, function, item))]
        except BrokenProcessPool:
            return [ProcessKilledError()]

    with ThreadPoolExecutor(workers) as waiting:
        numbers = {waiting.submit(alone, number, item): number for number, item in enumerate(items)}
        try:
            for future in as_completed(numbers):
                yield from ((numbers[future], result) for result in future.result())
        finally:
            waiting.shutdown(wait=False, cancel_futures=True)


def tell(words: str) -> None:
    """Tell the caller of `each_alone` at once what this process does; elsewhere nobody is told."""
    if _listener is not None:
        with suppress(OSError):
            _listener.send(words)


@contextmanager
def _listening(told: Callable[[str], None]) -> Iterator[Connection]:
    """A connection for a process; what comes through it is told in a thread, to its end."""
    receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)

    def listen() -> None:
        with suppress(EOFError, OSError):
            while True:
                told(receiver.recv())

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield sender
    finally:
        sender.close()
        thread.join(1.0)
        receiver.close()


def _begin(level: int, threads: int | None, listener: Connection | None) -> None:
    global _listener  # noqa: PLW0603  (a process has a single item)
    _listener = listener
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger(_PACKAGE).setLevel(level)
    if threads is not None:
        os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(signals.EXIT_INTERRUPTED)


def _logged(
    function: Callable[[Item], Result], item: Item
) -> tuple[Result, list[logging.LogRecord]]:
    """Result of a call, and what was logged meanwhile."""
    kept = _Kept()
    package = logging.getLogger(_PACKAGE)
    package.addHandler(kept)
    try:
        return function(item), kept.records
    finally:
        package.removeHandler(kept)


class _Kept(logging.Handler):
    """Keeps records, in a form that can be sent to another process."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args, record.exc_info = record.getMessage(), None, None
        self.records.append(record)
