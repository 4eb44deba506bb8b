"""The preparation of many cases side by side, each in a process of its own."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from volseg import memory
from volseg.cases.case import Case
from volseg.errors import OutputError, ResourceError, VolsegError, of_case
from volseg.preparation.case import prepare_case
from volseg.preparation.options import StepOptions
from volseg.preparation.record import PreparationRecord
from volseg.processes import NoProcessError, ProcessKilledError, each_alone
from volseg.progress import Steps, track
from volseg.ranks import cores

logger = logging.getLogger(__name__)

# Memory of a process, measured with its libraries, and bytes for each voxel of a channel at 1 mm.
_BYTES_AT_REST, _BYTES_A_VOXEL = 1.2e9, 30
_KILLED = ResourceError(
    "the process that prepared the case was killed, as happens where memory runs out",
    remedy="use a machine or a job with more memory, or fewer cases at once with --workers",
)


@dataclass(frozen=True)
class _Failed:
    """A case that was not prepared, with the reason."""

    reason: str


def prepare_cases(
    cases: Sequence[Case],
    steps: StepOptions,
    home: Path,
    workers: int | None,
    stop: Callable[[], bool],
    *,
    pictures: bool,
) -> tuple[dict[str, PreparationRecord], dict[str, str]]:
    """Prepare cases and write their files; a case that fails does not stop the others.

    Args:
        cases: Cases of volumes.
        steps: What is done.
        home: Folder of prepared cases; must exist.
        workers: Cases at once; None: one a core, as far as memory allows.
        stop: Function called before each case; once it returns True, no further case begins.
        pictures: Whether each case is drawn.

    Returns:
        Records of the prepared cases, and reasons of those that failed, by case id.

    Raises:
        OutputError: If a file cannot be written.
        ResourceError: If no process starts.
    """
    done: dict[str, PreparationRecord] = {}
    failures: dict[str, str] = {}
    if not cases:
        return done, failures
    workers = workers or _useful(cases)
    # One case alone may use all cores, where a method has a use for them.
    threads = max(1, cores() // workers)
    work = partial(_prepared, steps=steps, home=home, pictures=pictures)
    try:
        doing = Steps(len(cases))

        def told(number: int, step: str) -> None:
            doing.begin(f"{cases[number].case_id}: {step}")

        results = each_alone(work, cases, workers, threads, stop, told)
        for number, result in track(results, "preparing", len(cases), doing):
            case_id = cases[number].case_id
            if isinstance(result, ProcessKilledError) and stop():
                continue
            if isinstance(result, PreparationRecord):
                done[case_id] = result
                logger.info("%s: %s", case_id, _in_words(result))
                continue
            failures[case_id] = (
                result.reason if isinstance(result, _Failed) else _KILLED.without_case
            )
            logger.error("%s failed: %s", case_id, failures[case_id])
    except NoProcessError as error:
        raise ResourceError(str(error), remedy=error.remedy) from None
    return done, failures


def _useful(cases: Sequence[Case]) -> int:
    """Cases at once: one a core, as far as memory allows for the largest of the first."""
    voxels = max((_voxels(case) for case in cases[:8]), default=0)
    room = memory.available()
    most = math.inf if room is None else room / (_BYTES_AT_REST + voxels * _BYTES_A_VOXEL)
    return int(max(1, min(cores(), len(cases), most)))


def _voxels(case: Case) -> float:
    """Voxels of all channels of a case in their files, or at 1 mm if these are more."""
    try:
        grids = [case.read_grid([name]) for name in case.channels]
    except VolsegError:
        return 0.0
    return sum(math.prod(grid.shape) * max(1.0, grid.voxel_ml * 1000) for grid in grids)


def _prepared(
    case: Case, steps: StepOptions, home: Path, pictures: bool
) -> PreparationRecord | _Failed:
    """The record of a case, or the reason why it failed; OutputError ends the run."""
    try:
        with of_case(case.case_id), memory.in_words():
            return prepare_case(case, steps, home, picture=pictures)
    except OutputError:
        raise
    except VolsegError as error:
        return _Failed(error.without_case)
    # A long run must not end at one unusual case; the traceback is in the log.
    except Exception as error:
        logger.exception("%s failed unexpectedly", case.case_id)
        return _Failed(f"unexpected {type(error).__name__}: {error}")


def _in_words(record: PreparationRecord) -> str:
    """What became of a case, in a line.

    Such as `34 s, 0.52 GB; t1c reference; t2f moved by 2.1 mm; brain 1402 ml by HD-BET`.
    """
    size = record.peak_memory_bytes
    parts = [f"{record.seconds:.0f} s" + (f", {memory.size_in_words(size)}" if size else "")]
    for name, channel in record.channels.items():
        moved = f"moved by {channel.moved_mm:.1f} mm"
        parts.append(f"{name} {moved if channel.alignment == 'registered' else channel.alignment}")
    if record.mask is not None:
        parts.append(f"brain {record.mask.volume_ml:.0f} ml, {record.mask.method}")
    return "; ".join(parts)
