"""Scoring of many cases, in several processes where that is faster.

Threads were measured and are not faster. The scores are those of one process, in the same order. If
a process is killed, as where memory runs out, only the case that it scored has failed.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from volseg import memory, signals
from volseg.errors import LabelError, ResourceError, VolsegError
from volseg.evaluation.pairs import CasePair
from volseg.evaluation.scoring import CaseScores, score_case, unscored
from volseg.progress import track
from volseg.ranks import cores

logger = logging.getLogger(__name__)

_PACKAGE = "volseg"
# A process starts in a second; in that time, our scores of so many voxels are computed. Those of a
# protocol take the time of four times as many.
_VOXELS_A_SECOND = 40e6
_OURS_PER_PROTOCOL = 4
_WORTH_SECONDS = 4
# Memory of a process, measured on BraTS cases.
_BYTES_A_VOXEL, _BYTES_AT_REST = 50, 150e6
_ENDED = ResourceError(
    "the process that scored the case was killed, as happens where memory runs out",
    remedy="use a machine or a job with more memory, or check the files of the case",
)


class _NoProcessError(Exception):
    """A process ended before it was ready, or could not be started."""


_Scored = tuple[CaseScores, list[logging.LogRecord]]


def score_cases(pairs: Sequence[CasePair], workers: int | None = None) -> list[CaseScores]:
    """Score cases, in the order of `pairs`.

    Args:
        pairs: Cases with their predictions.
        workers: Most processes that score at once; None: one a core, if there is enough work and
            memory. With 1, this process scores.

    Raises:
        LabelError: As in `score_case`, of the first such case.
    """
    processes = _useful(pairs) if workers is None else min(workers, len(pairs))
    if processes > 1:
        try:
            scored = dict(track(_in_processes(pairs, processes), "scoring", len(pairs)))
            return [scored[number] for number in range(len(pairs))]
        except _NoProcessError as error:
            logger.warning("cases are scored one after another: %s", error)
    return [score_case(pair) for pair in track(pairs, "scoring", len(pairs))]


def _useful(pairs: Sequence[CasePair]) -> int:
    """Number of processes that saves time, judged by the first case whose size is known."""
    voxels = next((size for size in map(_voxels, pairs) if size), 0)
    protocols = len(pairs[0].protocols) if pairs else 0
    work = len(pairs) * voxels * (1 + _OURS_PER_PROTOCOL * protocols)
    if work < _WORTH_SECONDS * _VOXELS_A_SECOND:
        return 1
    room = memory.available()
    most = math.inf if room is None else room / (_BYTES_AT_REST + voxels * _BYTES_A_VOXEL)
    return int(max(1, min(cores(), len(pairs), most)))


def _voxels(pair: CasePair) -> int:
    try:
        return math.prod(pair.case.read_reference_grid().shape)
    except VolsegError:
        return 0


def _in_processes(pairs: Sequence[CasePair], processes: int) -> Iterator[tuple[int, CaseScores]]:
    """Scores by number of the case, as they come."""
    left = dict(enumerate(pairs))
    while left:
        for number, scores in _together(left, processes):
            del left[number]
            yield number, scores
        # Cases are begun in order, so one of the first ended its process.
        for number in list(left)[: 2 * processes]:
            yield number, _alone(left.pop(number))


def _together(left: Mapping[int, CasePair], processes: int) -> Iterator[tuple[int, CaseScores]]:
    """Scores by number of the case, until all are done or a process ends."""
    errors: dict[int, LabelError] = {}
    with _pool(min(processes, len(left))) as pool:
        numbers = {pool.submit(_scored, pair): number for number, pair in left.items()}
        for future in as_completed(numbers):
            number = numbers[future]
            if future.cancelled():
                continue
            try:
                yield number, _delivered(future)
            except LabelError as error:
                # Cases before this one may have such an error too; the first is raised.
                errors[number] = error
                for other, of in numbers.items():
                    if of > number:
                        other.cancel()
            except BrokenProcessPool:
                break
    if errors:
        raise errors[min(errors)]


def _alone(pair: CasePair) -> CaseScores:
    """Scores of a case in a process of its own."""
    try:
        with _pool(1) as pool:
            return _delivered(pool.submit(_scored, pair))
    except BrokenProcessPool:
        return unscored(pair, "failed", _ENDED.without_case)


def _delivered(future: Future[_Scored]) -> CaseScores:
    scores, records = future.result()
    for record in records:
        logging.getLogger(record.name).handle(record)
    return scores


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that are ready; _NoProcessError if there are none."""
    level = logging.getLogger(_PACKAGE).getEffectiveLevel()
    # A forked process would hold locks of threads, such as that of the progress bar.
    spawn = multiprocessing.get_context("spawn")
    # Python's process that frees semaphores would complain after Ctrl-C, though it frees them.
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")
    try:
        pool = ProcessPoolExecutor(processes, spawn, _begin, (level,))
    finally:
        sys.warnoptions.pop()
    try:
        try:
            # Ctrl-C reaches all processes; this one ends the others.
            with signals.blocked([signal.SIGINT]):
                ready = pool.submit(os.getpid)
            ready.result()
        except BrokenProcessPool:
            raise _NoProcessError(
                f"one of {processes} processes was killed while it started, as happens where "
                "memory runs out"
            ) from None
        except OSError as error:
            raise _NoProcessError(f"no process starts ({error})") from None
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(level: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger(_PACKAGE).setLevel(level)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(signals.EXIT_INTERRUPTED)


def _scored(pair: CasePair) -> _Scored:
    """Scores of a case, and what was logged meanwhile."""
    kept = _Kept()
    package = logging.getLogger(_PACKAGE)
    package.addHandler(kept)
    try:
        return score_case(pair), kept.records
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
