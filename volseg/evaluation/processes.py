"""Scoring of many cases, in several processes where that is faster.

Threads were measured and are not faster. The scores are those of one process, in the same order. If
a process is killed, as where memory runs out, only the case that it scored has failed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool

from volseg import memory
from volseg.errors import LabelError, ResourceError, VolsegError
from volseg.evaluation.pairs import CasePair
from volseg.evaluation.scoring import CaseScores, score_case, unscored
from volseg.processes import NoProcessError, delivered, ready_pool, submitted
from volseg.progress import track
from volseg.ranks import cores

logger = logging.getLogger(__name__)

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
        except NoProcessError as error:
            logger.warning("cases are scored one after another: %s; %s", error, error.remedy)
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
    with ready_pool(min(processes, len(left))) as pool:
        numbers = {submitted(pool, score_case, pair): number for number, pair in left.items()}
        for future in as_completed(numbers):
            number = numbers[future]
            if future.cancelled():
                continue
            try:
                yield number, delivered(future)
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
        with ready_pool(1) as pool:
            return delivered(submitted(pool, score_case, pair))
    except BrokenProcessPool:
        return unscored(pair, "failed", _ENDED.without_case)
