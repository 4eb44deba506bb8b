"""Writing of all cases of a plan: each whole or not at all, and kept if its source is unchanged."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from volseg.cases.channels import LABEL
from volseg.conversion.plan import PlannedCase
from volseg.conversion.pseudonym_table import PseudonymTable
from volseg.conversion.record import CaseRecord, read_record, write_record
from volseg.conversion.writing import digest_of, write_case
from volseg.errors import ImageError, OutputError, ResourceError, VolsegError
from volseg.files.writing import move_into_place, scratch_folder
from volseg.processes import (
    NoProcessError,
    ProcessKilledError,
    delivered,
    each_alone,
    ready_pool,
    submitted,
)
from volseg.progress import track
from volseg.ranks import cores
from volseg.words import reason

logger = logging.getLogger(__name__)

_WORKERS = 2
# A process needs a second to start; that is what so many voxels take.
_WORTH_VOXELS = 100e6
_REMEDY = "move it away, or choose another folder with -o"
_KILLED = ResourceError(
    "its process was killed, as happens where memory runs out",
    remedy="use a machine or a job with more memory",
)


@dataclass
class Outcome:
    """What became of the cases of a plan.

    Attributes:
        written: New cases.
        rewritten: Cases whose source or channels have changed.
        kept: Cases that were there.
        failures: Names and reasons of other cases.
        sources: Digest of the source files of each finished case.
    """

    written: list[str] = field(default_factory=list)
    rewritten: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)


def write_cases(
    output: Path, cases: Sequence[PlannedCase], table: PseudonymTable, *, overwrite: bool = False
) -> Outcome:
    """Write the cases that are not there yet, with a record of all.

    Args:
        output: Folder of the cases.
        cases: The cases.
        table: Their pseudonyms, with digests of the sources of earlier conversions.
        overwrite: Whether cases are written again, also with fewer channels than before.

    Raises:
        OutputError: If the record cannot be read.
    """
    outcome, records = Outcome(), read_record(output)
    known = {entry.case_id: entry.files for entry in table.entries}
    waiting = []
    for case in cases:
        try:
            sources = known.get(case.case_id, "")
            if _is_kept(output, case, records, sources, overwrite=overwrite):
                outcome.kept.append(case.case_id)
                outcome.sources[case.case_id] = case.sources
            else:
                waiting.append(case)
        except VolsegError as error:
            outcome.failures.append((case.case_id, error.without_case))
    if outcome.kept:
        logger.info("%d of %d cases kept: converted before", len(outcome.kept), len(cases))
    with scratch_folder(output, "conversion") as scratch:
        tasks = [_Task(case, scratch / case.case_id) for case in waiting]
        for task, result in track(_results(tasks), "converting", len(tasks)):
            case_id = task.case.case_id
            try:
                if isinstance(result, VolsegError):
                    raise result
                _put(output, task, result, records, outcome, overwrite=overwrite)
            except VolsegError as error:
                outcome.failures.append((case_id, error.without_case))
    return outcome


def kept_cases(
    output: Path, cases: Sequence[PlannedCase], table: PseudonymTable
) -> tuple[str, ...]:
    """Names of the cases that are there with unchanged sources, which `write_cases` keeps.

    Raises:
        OutputError: If the record cannot be read.
    """
    records = read_record(output)
    known = {entry.case_id: entry.files for entry in table.entries}
    return tuple(
        case.case_id
        for case in cases
        if (record := records.get(case.case_id)) is not None
        and known.get(case.case_id) == case.sources
        and _is_whole(output / case.case_id, record)
    )


@dataclass(frozen=True)
class _Task:
    """A case to write, and the folder to write it to."""

    case: PlannedCase
    folder: Path

    @property
    def voxels(self) -> int:
        """Voxels of all channels."""
        chosen = self.case.assignment.channels.values()
        return sum(i * j * k for i, j, k in (one.series.grid.shape for one in chosen))


def _results(tasks: Sequence[_Task]) -> Iterator[tuple[_Task, CaseRecord | VolsegError]]:
    """Records of written cases, or errors, as they come."""
    workers = min(_WORKERS, cores(), len(tasks))
    if workers > 1 and sum(task.voxels for task in tasks) > _WORTH_VOXELS:
        try:
            yield from _in_processes(tasks, workers)
            return
        except NoProcessError as error:
            logger.warning("cases are converted one after another: %s; %s", error, error.remedy)
    for task in tasks:
        yield task, _written(task)


def _in_processes(
    tasks: Sequence[_Task], workers: int
) -> Iterator[tuple[_Task, CaseRecord | VolsegError]]:
    """As `_results`; where a process is killed, each further case gets a process of its own."""
    left = dict(enumerate(tasks))
    with ready_pool(workers) as pool:
        numbers = {submitted(pool, _written, task): number for number, task in left.items()}
        for future in as_completed(numbers):
            try:
                result = delivered(future)
            except BrokenProcessPool:
                break
            yield left.pop(numbers[future]), result
    rest = list(left.values())
    for number, alone in each_alone(_written, rest, workers):
        yield rest[number], _KILLED if isinstance(alone, ProcessKilledError) else alone


def _written(task: _Task) -> CaseRecord | VolsegError:
    assignment = task.case.assignment
    refused = [one.channel for one in assignment.refused]
    try:
        return write_case(task.folder, task.case.case_id, assignment.channels, refused)
    except VolsegError as error:
        return error
    except OSError as error:
        return ImageError(
            f"its files cannot be read ({reason(error)})", remedy="check the source and its disk"
        )


def _is_kept(
    output: Path,
    case: PlannedCase,
    records: dict[str, CaseRecord],
    sources: str,
    *,
    overwrite: bool,
) -> bool:
    """Whether a case is there, with unchanged sources.

    Raises:
        OutputError: If its folder holds something that volseg did not write.
    """
    folder, record = output / case.case_id, records.get(case.case_id)
    if not folder.exists():
        return False
    if record is None or folder.is_symlink() or not folder.is_dir():
        raise OutputError(f"{folder} is there already and volseg did not write it", remedy=_REMEDY)
    if sources == case.sources and not overwrite and _is_whole(folder, record):
        return True
    _check_untouched(folder, record)
    if not overwrite:
        _check_complete(case, record)
    return False


def _is_whole(folder: Path, record: CaseRecord) -> bool:
    """Whether a folder of cases has all files of a record, by their sizes."""
    if folder.is_symlink():
        return False
    names = {one.file: one.bytes for one in record.channels.values()}
    return all(_size(folder / name) == size for name, size in names.items())


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _check_untouched(folder: Path, record: CaseRecord) -> None:
    """Refuse to replace a folder with a file that volseg did not write, or that was changed."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file() or path.name not in record.digests:
            raise OutputError(f"{path} was not written by volseg convert", remedy=_REMEDY)
        if digest_of(path) != record.digests[path.name]:
            raise OutputError(f"{path} was changed after its conversion", remedy=_REMEDY)


def _check_complete(case: PlannedCase, record: CaseRecord) -> None:
    """Refuse to take away a channel, as where a later export holds only the new series."""
    now = {"seg" if channel == LABEL else channel for channel in case.assignment.channels}
    if gone := sorted(record.channels.keys() - now):
        raise OutputError(
            f"its source gives no {' and no '.join(gone)} now, which an earlier conversion wrote",
            remedy="put all series of the examination into one source, or give --overwrite to "
            "convert the case without it",
        )


def _put(
    output: Path,
    task: _Task,
    record: CaseRecord,
    records: dict[str, CaseRecord],
    outcome: Outcome,
    *,
    overwrite: bool,
) -> None:
    """Put a written case into its place; an equal case that is there stays.

    Raises:
        OutputError: If it would replace a case that only its name says is the same.
    """
    case_id, folder = task.case.case_id, output / task.case.case_id
    before = records.get(case_id)
    is_there = folder.exists()
    is_equal = before is not None and before.digests == record.digests
    complete = is_there and all((folder / name).is_file() for name in record.digests)
    if is_equal and complete:
        outcome.kept.append(case_id)
    else:
        if is_there and task.case.is_elsewhere and not overwrite:
            raise OutputError(
                "an examination of this name in another folder was converted to it, with other "
                "images, perhaps of another patient",
                remedy="convert it into another folder with -o, or give --overwrite if it is the "
                "same examination",
            )
        if is_there:
            move_into_place(folder, task.folder.with_name(f"{case_id} before"))
        # Recorded first: a case without a record would not be taken for one of volseg.
        write_record(output, records | {case_id: record})
        move_into_place(task.folder, folder)
        (outcome.rewritten if is_there else outcome.written).append(case_id)
    records[case_id] = record
    if is_equal and complete:
        write_record(output, records)
    outcome.sources[case_id] = task.case.sources
