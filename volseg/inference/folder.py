"""Segmentation of many cases: later cases are read and the last case is written in parallel."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from volseg.cases.case import Case
from volseg.cases.result_maps import MapKind
from volseg.inference.case_steps import CaseReader, tried
from volseg.inference.predictor import Predictor
from volseg.inference.preparing import PreparedCase
from volseg.inference.probabilities import CaseProbabilities
from volseg.inference.result_writer import ResultWriter
from volseg.progress import track
from volseg.ranks import cores

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass
class Outcome:
    """Outcome for several cases.

    Attributes:
        done: Cases with a result.
        failures: Reason of each case that failed.
        found: Regions with a voxel in any label map.
        stopped: Whether the run was stopped before the last case.
    """

    done: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    found: set[str] = field(default_factory=set)
    stopped: bool = False


def segment_cases(
    cases: Sequence[Case],
    predictor: Predictor,
    writer: ResultWriter,
    stop: Callable[[], bool],
) -> Outcome:
    """Segment cases and write their results.

    At most three cases are in memory; on a GPU, two more than there are readers. A case that fails
    is recorded with its reason, and the next case begins.

    Args:
        cases: Cases to segment.
        predictor: The models.
        writer: Writer of the results.
        stop: Function called before each case; once it returns True, no further case begins.

    Raises:
        OutputError: If a result cannot be written.
    """
    outcome, reader = Outcome(), CaseReader(predictor, greys=writer.draws)
    writing: Future[None] | None = None
    # A GPU segments a case faster than one core reads the next; a CPU has no core to spare.
    readers = min(4, cores()) if predictor.device.type != "cpu" else 1
    with ThreadPoolExecutor(readers) as reading, ThreadPoolExecutor(1) as background:
        steps = _read_ahead(cases, reader, reading, readers)
        for case, prepared in track(steps, "segmenting", len(cases)):
            if stop():
                outcome.stopped = True
                reading.shutdown(wait=False, cancel_futures=True)
                break
            start = time.monotonic()
            scored = tried(case, partial(_score, prepared, predictor, writer.kinds))
            if writing is not None:
                writing.result()
            sources = reader.sources.pop(case.case_id, [])
            segmented = _Segmented(case, scored, sources, start)
            writing = background.submit(_write, segmented, predictor, writer, outcome)
            # Otherwise they would stay in memory while the network works on the next case.
            del prepared, scored, segmented
        if writing is not None:
            writing.result()
    return outcome


@dataclass(frozen=True)
class _Segmented:
    """A case after the network.

    Attributes:
        case: The case.
        scored: Probabilities, or the reason why there are none.
        sources: Sources of the images.
        start: Reading of `time.monotonic` before the network.
    """

    case: Case
    scored: CaseProbabilities | str
    sources: Sequence[Mapping[str, Any]]
    start: float


def _read_ahead(
    cases: Iterable[Case], reader: CaseReader, reading: ThreadPoolExecutor, number: int
) -> Iterator[tuple[Case, Future[PreparedCase]]]:
    """Each case with its images as a future; `number` cases are read ahead."""
    ahead: deque[tuple[Case, Future[PreparedCase]]] = deque()
    for case in cases:
        ahead.append((case, reading.submit(reader.prepare, case)))
        if len(ahead) > number:
            yield ahead.popleft()
    yield from ahead


def _score(
    prepared: Future[PreparedCase], predictor: Predictor, kinds: Collection[MapKind]
) -> CaseProbabilities:
    spreads = MapKind.DISAGREEMENT in kinds
    return predictor.probabilities(prepared.result(), disagreement=spreads)


def _write(
    segmented: _Segmented, predictor: Predictor, writer: ResultWriter, outcome: Outcome
) -> None:
    """Write the result of a case, or record the reason why there is none."""
    case, scored = segmented.case, segmented.scored
    prediction = (
        scored if isinstance(scored, str) else tried(case, partial(predictor.decode, scored))
    )
    if isinstance(prediction, str):
        outcome.failures[case.case_id] = prediction
        writer.add_failure(case, prediction)
    else:
        outcome.done.append(case.case_id)
        outcome.found |= prediction.found
        seconds = time.monotonic() - segmented.start
        greys = None if isinstance(scored, str) else scored.case.greys
        writer.add_result(case, prediction, seconds, segmented.sources, greys)
