"""`volseg prepare`: registers, strips and crops every case of a folder, side by side."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from volseg import memory
from volseg.cases.case import Case
from volseg.config import CHANNELS
from volseg.errors import DataListError, OutputError, ResourceError, VolsegError, of_case
from volseg.files.ownership import PREPARATION_FOLDER
from volseg.files.paths import PathLike
from volseg.files.writing import make_folder, remove_unfinished
from volseg.finding.finding import Finding
from volseg.finding.folders import find_scans
from volseg.finding.naming import Naming
from volseg.preparation.brain_mask.finding import check_method
from volseg.preparation.case import prepare_case
from volseg.preparation.case_files import CaseFiles, others_of
from volseg.preparation.options import StepOptions, read_atlas
from volseg.preparation.record import PreparationRecord
from volseg.processes import NoProcessError, ProcessKilledError, each_alone
from volseg.progress import track
from volseg.ranks import cores
from volseg.words import cases_in_words

logger = logging.getLogger(__name__)

_CHOOSE = "choose another with -o"
# Memory of a process, measured with its libraries, and bytes for each voxel of a channel at 1 mm.
_BYTES_AT_REST, _BYTES_A_VOXEL = 1.2e9, 30
_KILLED = ResourceError(
    "the process that prepared the case was killed, as happens where memory runs out",
    remedy="use a machine or a job with more memory, or fewer cases at once with --workers",
)


@dataclass(frozen=True)
class PrepareOptions:
    """Options of a preparation.

    Attributes:
        to: Channel that the others are registered to, an atlas as a NIfTI file, or "mni"; None: the
            first of t1c, t1n, t2f, t2w, ct that a case has, else its first channel.
        strip: "auto", "mask", "none", or a command with {input} and {output}.
        n4: Whether bias fields are removed from the images.
        affine: Whether the step to the atlas may also scale and shear.
        spacing_mm: Size of the voxels of the result; None: 1 mm, or as the atlas.
        pictures: Whether each case is drawn.
        workers: Cases at once; None: one a core, as far as memory allows.
        overwrite: Whether finished cases are prepared again.
        channels: Channels to look for; None: the four of BraTS.
        names: `CHANNEL=GLOB` of channels whose file names volseg does not know.
        label_name: Ending of the names of label maps, if volseg does not know it.
        fold: Fold of a data list to use; None: all cases.
        data_root: Folder that the paths of a data list start from; None: from the list.
    """

    to: str | None = None
    strip: str = "auto"
    n4: bool = False
    affine: bool = False
    spacing_mm: tuple[float, float, float] | None = None
    pictures: bool = True
    workers: int | None = None
    overwrite: bool = False
    channels: tuple[str, ...] | None = None
    names: tuple[str, ...] = ()
    label_name: str | None = None
    fold: int | None = None
    data_root: Path | None = None

    @property
    def steps(self) -> StepOptions:
        """The options that decide the result of a case."""
        return StepOptions(self.to, self.strip, self.n4, self.affine, self.spacing_mm)


DEFAULTS = PrepareOptions()


@dataclass(frozen=True)
class PrepareResult:
    """Result for all cases.

    Attributes:
        folder: The folder of prepared cases.
        done: Records of the cases prepared now, by case id.
        kept: Cases that were prepared before.
        failures: Reason of each case that failed.
        stopped: Whether `stop` ended the run before its last case.
    """

    folder: Path
    done: Mapping[str, PreparationRecord]
    kept: tuple[str, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    stopped: bool = False


def prepare(
    cases: PathLike,
    output: PathLike,
    options: PrepareOptions = DEFAULTS,
    stop: Callable[[], bool] = lambda: False,
) -> PrepareResult:
    """Prepare the cases in `cases`: channels registered, skull stripped, 1 mm, cropped.

    Each case gets a folder `CASE` with a file for each channel, `CASE-t1c.nii.gz`, and its label
    map, if it has one; `preparation/CASE.json` records the steps, and `preparation/CASE.png` shows
    them. A case is written whole or not at all. A case that fails is named with its reason, and the
    others are prepared. Cases that were prepared from the same files with the same options are
    kept, so the same call resumes a stopped run.

    Args:
        cases: Folder of cases in any known layout, folder of one case, or data list. Cases may lack
            channels, and each channel may lie on its own grid.
        output: Folder for the prepared cases; made if missing.
        options: What is done.
        stop: Function called before each case; once it returns True, no further case begins.

    Raises:
        ConfigError: If options contradict each other.
        DataListError: If there is no case.
        BrainMaskError: If the method or command for brain masks is not usable.
        RegistrationError: If the atlas cannot be used.
        OutputError: If the output cannot be written, holds files that volseg did not write, or
            would replace an input.
    """
    folder, home, steps = Path(cases), Path(output), options.steps
    steps.check()
    check_method(steps.strip)
    finding = _found(folder, options)
    _check_apart(folder, home)
    if steps.atlas is not None:
        read_atlas(steps.atlas)
    for skipped in finding.skipped:
        logger.warning("left out: %s: %s", skipped.path, skipped.sentence)
    recorded, kept = steps.recorded(), []
    for case in finding.cases:
        files = CaseFiles(home, case.case_id)
        files.check_ours()
        if files.kept(case, recorded) is not None and not options.overwrite:
            kept.append(case.case_id)
    if kept:
        logger.info("%s kept: prepared before from the same files", cases_in_words(len(kept)))
    _make_folders(home, finding)
    _warn_of_others(home, finding, recorded)
    waiting = [case for case in finding.cases if case.case_id not in {*kept}]
    done, failures = _in_processes(waiting, steps, home, options, stop)
    left = len(waiting) - len(done) - len(failures)
    return PrepareResult(home, done, tuple(kept), finding.lost | failures, stopped=left > 0)


def _found(folder: Path, options: PrepareOptions) -> Finding:
    if not folder.exists():
        raise DataListError(
            f"{folder} does not exist", remedy="give a folder of scans or a data list", path=folder
        )
    naming = Naming.parse(options.names, options.label_name)
    where = options.fold, options.data_root
    channels = options.channels or CHANNELS
    return find_scans(folder, channels, *where, required=(), naming=naming)


def _check_apart(folder: Path, home: Path) -> None:
    """Refuse an output within the folder of scans, where its cases would be found again."""
    inside = home.resolve().is_relative_to(folder.resolve())
    if folder.is_dir() and inside:
        raise OutputError(
            f"{home} lies in {folder}, where the prepared cases would be found as scans",
            remedy="give a folder beside it with -o",
            path=home,
        )


def _make_folders(home: Path, finding: Finding) -> None:
    """Make the output, and remove what killed processes left in it."""
    make_folder(home, _CHOOSE)
    make_folder(home / PREPARATION_FOLDER, _CHOOSE)
    names = {case.case_id for case in finding.cases}
    remove_unfinished(home, names.__contains__)
    remove_unfinished(home / PREPARATION_FOLDER, lambda name: Path(name).stem in names)


def _warn_of_others(home: Path, finding: Finding, recorded: Mapping[str, object]) -> None:
    """Warn of cases in the folder that this run does not touch and that were prepared otherwise."""
    now = {case.case_id for case in finding.cases}
    others = others_of(home, now, recorded)
    if others:
        logger.warning(
            "%s of earlier runs in %s, such as %s, were prepared with other options: a network "
            "sees them differently",
            cases_in_words(len(others)),
            home,
            others[0],
        )


@dataclass(frozen=True)
class _Failed:
    """A case that was not prepared, with the reason."""

    reason: str


def _in_processes(
    cases: Sequence[Case],
    steps: StepOptions,
    home: Path,
    options: PrepareOptions,
    stop: Callable[[], bool],
) -> tuple[dict[str, PreparationRecord], dict[str, str]]:
    """Records and failures by case id; each case in a process of its own."""
    done: dict[str, PreparationRecord] = {}
    failures: dict[str, str] = {}
    if not cases:
        return done, failures
    workers = options.workers or _useful(cases)
    # One case alone may use all cores, where a method has a use for them.
    threads = max(1, cores() // workers)
    work = partial(_prepared, steps=steps, home=home, pictures=options.pictures)
    try:
        results = each_alone(work, cases, workers, threads, stop)
        for number, result in track(results, "preparing", len(cases)):
            case_id = cases[number].case_id
            if isinstance(result, ProcessKilledError) and stop():
                continue
            if isinstance(result, PreparationRecord):
                done[case_id] = result
                logger.info("%s: %s", case_id, in_words(result))
                continue
            failures[case_id] = (
                result.reason if isinstance(result, _Failed) else _KILLED.without_case
            )
            logger.error("%s failed: %s", case_id, failures[case_id])
    except NoProcessError as error:
        raise ResourceError(str(error), remedy="use a machine or a job with more memory") from None
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


def in_words(record: PreparationRecord) -> str:
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
