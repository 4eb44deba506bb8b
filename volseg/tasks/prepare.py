"""`volseg prepare`: registers, strips and crops every case of a folder, side by side."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from volseg.cases.channels import channel_among, channel_of
from volseg.config import CHANNELS
from volseg.errors import ConfigError, DataListError, OutputError
from volseg.files.ownership import PREPARATION_FOLDER
from volseg.files.paths import PathLike
from volseg.files.writing import make_folder, remove_unfinished
from volseg.finding.finding import Finding
from volseg.finding.folders import find_scans
from volseg.finding.naming import Naming
from volseg.preparation.brain_mask.finding import check_method
from volseg.preparation.case_files import CaseFiles, others_of
from volseg.preparation.cases import prepare_cases
from volseg.preparation.options import StepOptions, read_atlas
from volseg.preparation.own_masks import is_masks_folder
from volseg.preparation.record import PreparationRecord, is_prepared
from volseg.words import cases_in_words

logger = logging.getLogger(__name__)

_CHOOSE = "choose another with -o"
# A second preparation would search the brain in what the first left, and know no original grid.
_AGAIN = (
    "is a result of volseg prepare already; use it as it is, or prepare the scans it was made from"
)


@dataclass(frozen=True)
class PrepareOptions:
    """Options of a preparation.

    Attributes:
        to: Channel that the others are registered to, an atlas as a NIfTI file, or "mni"; None: the
            first of t1c, t1n, t2f, t2w, ct that a case has, else its first channel.
        strip: "auto", "mask", "none", a folder of masks, or a command with {input} and {output}.
        n4: Whether bias fields are removed from the images.
        affine: Whether the step to the atlas may also scale and shear.
        spacing_mm: Size of the voxels of the result; None: 1 mm, or as the atlas.
        pictures: Whether each case is drawn.
        workers: Cases at once; None: one a core, as far as memory allows.
        overwrite: Whether finished cases are prepared again.
        channels: Channels to look for, which get the names of `cases.channels.channel_of`; None:
            the four of BraTS.
        required: Channels that each case must have.
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
    required: tuple[str, ...] = ()
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
        failures: Reason of each case that failed, and whether files of an earlier run remain.
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
        ConfigError: If options contradict each other, or no case has the reference channel.
        DataListError: If there is no case.
        BrainMaskError: If the method or command for brain masks is not usable.
        RegistrationError: If the atlas cannot be used.
        OutputError: If the output cannot be written, holds files that volseg did not write, or
            would replace an input.
    """
    folder, home, steps = Path(cases), Path(output), options.steps
    steps.check()
    if not is_masks_folder(steps.strip):
        check_method(steps.strip)
    finding = _found(folder, options)
    _check_apart(folder, home)
    _check_reference(finding, steps)
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
    again = {case.case_id: _AGAIN for case in finding.cases if is_prepared(case)}
    waiting = [case for case in finding.cases if case.case_id not in {*kept, *again}]
    done, failures = prepare_cases(
        waiting, steps, home, options.workers, stop, pictures=options.pictures
    )
    left = len(waiting) - len(done) - len(failures)
    reasons = {name: _with_former(why, home / name) for name, why in failures.items()}
    return PrepareResult(home, done, tuple(kept), finding.lost | again | reasons, stopped=left > 0)


def _with_former(why: str, folder: Path) -> str:
    """The reason of a failure, and whether files of an earlier run are still there."""
    if not folder.is_dir():
        return why
    return f"{why} ({folder} is still that of an earlier run: remove it, or mend the case)"


def _found(folder: Path, options: PrepareOptions) -> Finding:
    if not folder.exists():
        raise DataListError(
            f"{folder} does not exist", remedy="give a folder of scans or a data list", path=folder
        )
    naming = Naming.parse(options.names, options.label_name)
    where = options.fold, options.data_root
    asked = options.channels or CHANNELS
    ours = tuple(map(channel_of, asked))
    # Two names of a channel are refused by the search, which quotes them.
    channels = ours if len({*ours}) == len(asked) else asked
    required = tuple(map(channel_of, options.required))
    return find_scans(folder, channels, *where, required=required, naming=naming)


def _check_apart(folder: Path, home: Path) -> None:
    """Refuse an output within the folder of scans, where its cases would be found again."""
    inside = home.resolve().is_relative_to(folder.resolve())
    if folder.is_dir() and inside:
        raise OutputError(
            f"{home} lies in {folder}, where the prepared cases would be found as scans",
            remedy="give a folder beside it with -o",
            path=home,
        )


def _check_reference(finding: Finding, steps: StepOptions) -> None:
    """Refuse a reference channel that no case has: most likely it is misspelled."""
    names = dict.fromkeys(name for case in finding.cases for name in case.channels)
    if steps.channel is None or channel_among(steps.channel, names) in names:
        return
    raise ConfigError(
        f"--to is {steps.to}, which is no channel of any case, no NIfTI file and not mni",
        remedy=f"give {', '.join(names)}, mni, or the file of an atlas, such as SRI24.nii.gz",
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
