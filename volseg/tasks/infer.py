"""`volseg infer`: segment every case of a folder and keep a manifest of what was made from what."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from volseg import memory
from volseg.cases.case import Case
from volseg.cases.sources import check_unchanged, read_sources, states
from volseg.errors import DataListError, VolsegError
from volseg.finding.naming import Naming
from volseg.inference.manifest_writer import ManifestWriter
from volseg.inference.options import InferOptions
from volseg.inference.predictor import Predictor, PreparedCase, ScoredCase
from volseg.progress import track
from volseg.ranks import cores
from volseg.results.manifest import Shard
from volseg.results.paths import check_places
from volseg.words import cases_in_words

logger = logging.getLogger(__name__)

T = TypeVar("T")


DEFAULTS = InferOptions()


@dataclass(frozen=True)
class InferResult:
    """What became of the cases, or of those of the shard.

    Attributes:
        done: Cases segmented now.
        kept: Cases that were there already.
        failures: Reason of each case that failed.
        manifest: `manifest.json`, or that of the shard while other shards are not finished.
        empty: Regions that no label map made now holds a voxel of.
        stopped: Whether `stop` ended the run before its last case.
    """

    done: tuple[str, ...]
    kept: tuple[str, ...]
    failures: Mapping[str, str]
    manifest: Path
    stopped: bool = False
    empty: tuple[str, ...] = ()


@dataclass
class _Outcome:
    """What became of the cases that were begun."""

    done: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    found: set[str] = field(default_factory=set)
    stopped: bool = False


def infer(
    scans: Path,
    models: Sequence[Path],
    output: Path,
    options: InferOptions = DEFAULTS,
    stop: Callable[[], bool] = lambda: False,
) -> InferResult:
    """Segment the cases in `scans`, each result on the grid of its images.

    The result of a case is a label map, `<case>.nii.gz`; of slices, a mask each, called as its
    image, in the folder `<case>`, or beside the manifest where a case is a single slice.

    Results that exist are kept unless `options.overwrite`: each is written whole or not at all, so
    a stopped run goes on. What they were made from is compared; see `choose_kept`. A case that
    fails is named with its reason and the others go on. A place that cannot be written ends the
    run, since every case after it would fail as well.

    The shards of `options.shard` give together what one process gives. Each writes a manifest of
    its own, and the last one to finish merges them. Cases that the search could not use are named
    by the first.

    Args:
        scans: Folder of cases in any known layout, folder of one case, or data list.
        models: Model files or run folders; several make an ensemble.
        output: Folder for the results and `manifest.json`; made if missing.
        options: How to segment, and what to write.
        stop: Is asked before each case; once it says yes, no more cases are begun.

    Raises:
        ModelError: If a model cannot be used.
        ConfigError: If `options.shard` is no share.
        DataListError: If there is no case.
        OutputError: If results cannot be written, would replace an input, or would lie among
            results in another label scheme, of other images, models or options.
    """
    shard = Shard.parse(options.shard)
    if not scans.exists():
        # Before the models, which take longer to read.
        raise DataListError(
            f"{scans} does not exist", remedy="give a folder of scans or a data list"
        )
    predictor = Predictor(
        models,
        options.device,
        tta=options.tta,
        overlap=options.overlap,
        labels=options.labels,
        overrides=options.overrides,
    )
    naming = Naming.parse(options.names, options.label_name)
    finding = predictor.find(scans, options.fold, options.data_root, options.patient_regex, naming)
    check_places(scans, finding.cases, output, predictor.regions, shard)
    manifest = ManifestWriter(output, predictor, options, finding)
    if shard.number == 1:
        for skipped in finding.skipped:
            logger.warning("left out: %s: %s", skipped.path, skipped.reason)
    there = manifest.begin()
    scheme = predictor.scheme
    logger.info("writing label scheme %s", scheme)
    mine = shard.share(finding.cases)
    if not mine:
        found = cases_in_words(len(finding.cases))
        logger.info("shard %s has no case: only %s found", shard, found)
    kept = tuple(case.case_id for case in mine if case.case_id in there)
    if kept:
        logger.info("%s already there and kept", cases_in_words(len(kept)))
    refused = dict(manifest.kept.refused)
    for case_id, why in refused.items():
        logger.error("%s failed: %s", case_id, why)
    waiting = [case for case in mine if case.case_id not in {*there, *refused}]
    with manifest.writing():
        outcome = _segment_all(waiting, predictor, manifest, stop)
    lost: dict[str, str] = finding.lost if shard.number == 1 else {}
    path = manifest.path if outcome.stopped else manifest.finish()
    empty = tuple(r for r in scheme.regions if outcome.done and r not in outcome.found)
    if empty:
        logger.warning(
            "no voxel of %s is in the label maps of %s: if the images should show it, the "
            "model does not suit them, or their preparation differs from that of its training",
            ", ".join(empty),
            cases_in_words(len(outcome.done)),
        )
    return InferResult(
        tuple(outcome.done), kept, lost | refused | outcome.failures, path, outcome.stopped, empty
    )


def _segment_all(
    cases: Sequence[Case],
    predictor: Predictor,
    manifest: ManifestWriter,
    stop: Callable[[], bool],
) -> _Outcome:
    """Segment the cases; the next are read and the last is written while the network works.

    At most three are in memory, on a GPU two more than there are readers.
    """
    outcome, preparer = _Outcome(), _Preparer(predictor)
    writing: Future[None] | None = None
    # A GPU is done with a case before one core has read the next; a CPU has no core to spare.
    readers = min(4, cores()) if predictor.device.type != "cpu" else 1
    with ThreadPoolExecutor(readers) as reader, ThreadPoolExecutor(1) as writer:
        steps = _read_ahead(cases, preparer, reader, readers)
        for case, prepared in track(steps, "segmenting", len(cases)):
            if stop():
                outcome.stopped = True
                reader.shutdown(wait=False, cancel_futures=True)
                break
            start = time.monotonic()
            scored = _tried(case, partial(_score, prepared, predictor))
            if writing is not None:
                writing.result()
            sources = preparer.sources.pop(case.case_id, [])
            written = _Written(case, scored, sources, start)
            writing = writer.submit(_finish, written, predictor, manifest, outcome)
            # Else they would stay in memory until the next case is scored.
            del prepared, scored, written
        if writing is not None:
            writing.result()
    return outcome


class _Preparer:
    """Reads and preprocesses the images of a case, and notes what was in them."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.sources: dict[str, list[dict[str, Any]]] = {}

    def prepare(self, case: Case) -> PreparedCase:
        # What cannot be read here, the predictor cannot read either, and says so in its words.
        with contextlib.suppress(OSError):
            before = states(case.images)
        prepared = self.predictor.prepare(case)
        # They are read whole: only once their headers are those of images that fit into memory.
        with contextlib.suppress(OSError):
            sources = read_sources(case)
            check_unchanged(case, before, sources)
            self.sources[case.case_id] = sources
        return prepared


@dataclass(frozen=True)
class _Written:
    """A case to be written: what the network says or why it failed, its sources, its beginning."""

    case: Case
    scored: ScoredCase | str
    sources: Sequence[Mapping[str, Any]]
    start: float


def _read_ahead(
    cases: Iterable[Case], preparer: _Preparer, reader: ThreadPoolExecutor, number: int
) -> Iterator[tuple[Case, Future[PreparedCase]]]:
    """Each case and its images to come, so many cases being read ahead."""
    ahead: deque[tuple[Case, Future[PreparedCase]]] = deque()
    for case in cases:
        ahead.append((case, reader.submit(preparer.prepare, case)))
        if len(ahead) > number:
            yield ahead.popleft()
    yield from ahead


def _score(prepared: Future[PreparedCase], predictor: Predictor) -> ScoredCase:
    return predictor.score(prepared.result())


def _finish(
    written: _Written, predictor: Predictor, manifest: ManifestWriter, outcome: _Outcome
) -> None:
    """Write the result of a case, or record the reason why there is none."""
    case, scored = written.case, written.scored
    prediction = (
        scored if isinstance(scored, str) else _tried(case, partial(predictor.decode, scored))
    )
    if isinstance(prediction, str):
        outcome.failures[case.case_id] = prediction
        manifest.add_failure(case, prediction)
    else:
        outcome.done.append(case.case_id)
        outcome.found |= prediction.found
        seconds = time.monotonic() - written.start
        manifest.add_result(case, prediction, seconds, written.sources)


def _tried(case: Case, work: Callable[[], T]) -> T | str:
    """What `work` returns, or the reason why it failed."""
    try:
        with memory.in_words(f"case {case.case_id}"):
            return work()
    except VolsegError as error:
        reason = str(error)
        logger.error("%s failed: %s", case.case_id, reason)
    # A night's run must not end at one odd case, whatever it is; the traceback is in the log.
    except Exception as error:
        reason = f"unexpected {type(error).__name__}: {error}"
        logger.exception("%s failed unexpectedly", case.case_id)
    return reason
