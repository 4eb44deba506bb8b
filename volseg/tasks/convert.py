"""Convert the scans of a source, such as a hospital's folder of DICOM, to cases of NIfTI."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.cases.layouts import CONVERTED, layout_of
from volseg.conversion.by_hand import ByHand
from volseg.conversion.cases import Outcome, kept_cases, write_cases
from volseg.conversion.plan import Plan, make_plan
from volseg.conversion.pseudonym_table import ENDING, PseudonymTable
from volseg.conversion.record import read_record
from volseg.conversion.series import LeftOut, SourceFinding
from volseg.conversion.single_conversion import only_conversion
from volseg.conversion.time_points import write_time_points
from volseg.errors import ConfigError, DataListError, OutputError
from volseg.files.ownership import (
    CONVERSION_FILE,
    TIME_POINTS_FILE,
    check_names_folder,
    check_ours,
)
from volseg.files.paths import PathLike
from volseg.files.writing import make_folder
from volseg.words import cut, number_of

logger = logging.getLogger(__name__)

_NO_SCAN = "neither DICOM nor another image file"
_ARCHIVE = "an archive, which is not opened; unpack it to convert the scans in it"
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9]{0,19}(?:-[A-Za-z0-9]{1,20}){0,2}")


@dataclass(frozen=True)
class ConvertOptions:
    """Options of `convert`.

    Attributes:
        channels: `CHANNEL=PATTERN` for channels that are decided by hand. A pattern is compared
            with description, protocol, series number and path of each series; `*` is any text.
        dry_run: Whether nothing is written.
        shift_dates: Whether a table of time points with shifted dates is written.
        pseudonyms: Table of pseudonyms; None: beside the output, with its name.
        prefix: Name of patients in pseudonyms; None: as in the table, else `PAT`.
        keep_names: Whether cases of image files that are no DICOM keep their names.
        spacing_mm: Size of a voxel along the axes of files that do not say it; None: such files are
            faults.
        orientation: Directions of the axes of files that do not say them, such as LPS; None: as
            other programs assume for the format, with a note.
        overwrite: Whether cases are converted again, also with fewer channels than before; files
            that volseg did not write, or that were changed since, are never replaced.
    """

    channels: tuple[str, ...] = ()
    dry_run: bool = False
    shift_dates: bool = False
    pseudonyms: Path | None = None
    prefix: str | None = None
    keep_names: bool = False
    spacing_mm: tuple[float, ...] | None = None
    orientation: str | None = None
    overwrite: bool = False


DEFAULTS = ConvertOptions()


@dataclass(frozen=True)
class ConvertResult:
    """Result of a conversion.

    Attributes:
        folder: Folder of the cases.
        table: Table of pseudonyms.
        plan: What was to be written.
        outcome: Which cases were written, kept, or failed; None for a dry run.
        time_points: Table of shifted dates, if it was written; None also if no date is known.
    """

    folder: Path
    table: Path
    plan: Plan
    outcome: Outcome | None = None
    time_points: Path | None = None

    @property
    def failures(self) -> tuple[tuple[str, str], ...]:
        """Names and reasons of series, channels and cases with faults."""
        return (*self.plan.failures, *(self.outcome.failures if self.outcome else ()))


def convert(
    source: PathLike,
    output: PathLike,
    options: ConvertOptions = DEFAULTS,
    on_plan: Callable[[Plan], None] = lambda _: None,
) -> ConvertResult:
    """Write the series of a source as cases `PAT-00001-000/PAT-00001-000-t1c.nii.gz`.

    Names, ids and dates of patients stay in the table of pseudonyms, apart from the cases. Cases
    that are there and whose source is unchanged are kept; a case that cannot be converted does not
    stop the others.

    Args:
        source: Folder with DICOM, MetaImage, NRRD, Analyze or NIfTI files, TIFF or PNG stacks.
        output: Folder of the cases; made if missing.
        options: Options.
        on_plan: Function called with the plan before anything is written.

    Raises:
        ConfigError: If an option is not valid.
        DataListError: If the source holds no series, or none becomes a channel, or the table of
            pseudonyms cannot be read.
        OutputError: If the output cannot be written, or its cases are not in the table.
    """
    source, output = Path(source), Path(output)
    table_path = options.pseudonyms or _table_beside(output)
    _check(source, output, table_path, options)
    by_hand = ByHand.parse(options.channels)
    finding = find_series(source, options)
    usable = [one for one in finding.series if by_hand.patterns or not one.facts.by_hand_only]
    if not usable and not finding.broken:
        raise _nothing(source, finding)
    with contextlib.ExitStack() as stack:
        if not options.dry_run:
            make_folder(table_path.parent, "give another table with --pseudonyms")
            stack.enter_context(only_conversion(table_path))
        table = PseudonymTable.read(table_path, options.prefix)
        _check_known(output, table)
        plan = make_plan(finding, by_hand, table, source, keep_names=options.keep_names)
        if not options.overwrite:
            plan = replace(plan, kept=kept_cases(output, plan.cases, table))
        on_plan(plan)
        if not plan.cases and not plan.failures:
            raise _no_channel(source)
        if options.dry_run:
            return ConvertResult(output, table_path, plan)
        return _write(output, table, plan, options)


def _write(
    output: Path, before: PseudonymTable, plan: Plan, options: ConvertOptions
) -> ConvertResult:
    if not plan.cases:
        return ConvertResult(output, before.path, plan, Outcome())
    make_folder(output, "choose another with -o")
    with only_conversion(output):
        # Another conversion, with another table, may have ended since.
        _check_known(output, before)
        return _write_cases(output, plan, options)


def _write_cases(output: Path, plan: Plan, options: ConvertOptions) -> ConvertResult:
    # Without it, nobody could say later whose the cases are.
    plan.table.write()
    outcome = write_cases(output, plan.cases, plan.table, overwrite=options.overwrite)
    folders = {case.case_id: case.folder for case in plan.cases}
    plan.table.with_files(outcome.sources, folders).write()
    time_points = None
    if options.shift_dates or (output / TIME_POINTS_FILE).exists():
        time_points = write_time_points(output, plan.table, read_record(output))
    return ConvertResult(output, plan.table.path, plan, outcome, time_points)


def find_series(source: Path, options: ConvertOptions = DEFAULTS) -> SourceFinding:
    """The series of a source, DICOM and other images; each file is named by one reader."""
    from volseg.conversion.dicom.finding import NO_DICOM, find_dicom_series
    from volseg.conversion.image_files.finding import find_image_series

    # First, since it checks the options.
    images = find_image_series(source, options.spacing_mm, options.orientation)
    dicom = find_dicom_series(source)
    top = source.absolute()
    known = {path for one in images.series for path in one.files}
    known |= {path for one in images.broken for path in one.files}
    known |= {top / name for name in _names(images)}
    others = [one for one in dicom.left_out if one.reason != NO_DICOM]
    strange = (one for one in dicom.left_out if one.reason == NO_DICOM)
    others += [_strange(one) for one in strange if top / one.name not in known]
    return replace(dicom, left_out=tuple(others)) + images


def _strange(one: LeftOut) -> LeftOut:
    """A file that no reader knows."""
    return replace(one, reason=_ARCHIVE if _is_archive(Path(one.name)) else _NO_SCAN)


def _is_archive(path: Path) -> bool:
    """Whether a file is an archive of files by its name."""
    return path.name.casefold().endswith(_ARCHIVES)


def _names(finding: SourceFinding) -> list[str]:
    """Names of what a reader left out or found faulty."""
    return [one.name for one in finding.left_out] + [one.name for one in finding.broken]


def _table_beside(output: Path) -> Path:
    output = output.resolve()
    return output.with_name(f"{output.name}{ENDING}")


def _check(source: Path, output: Path, table: Path, options: ConvertOptions) -> None:
    """Refuse paths and options before anything is read."""
    if not source.is_dir():
        problem = "is no folder" if source.exists() else "does not exist"
        remedy = "give a folder of scans"
        if _is_archive(source) and source.exists():
            problem, remedy = "is an archive, not a folder", "unpack it, and give its folder"
        raise DataListError(f"{source} {problem}", remedy=remedy, path=source)
    check_names_folder(output, "choose another with -o")
    here, there = output.resolve(), source.resolve()
    if here.is_relative_to(there) or there.is_relative_to(here):
        raise OutputError(
            f"{output} and {source} lie within each other, so cases would become sources",
            remedy="choose a folder outside with -o",
            path=output,
        )
    if table.resolve().is_relative_to(here):
        raise OutputError(
            f"the table of pseudonyms {table} would lie among the cases, though it names patients",
            remedy="give a path outside with --pseudonyms",
            path=table,
        )
    for name in (CONVERSION_FILE, *([TIME_POINTS_FILE] if options.shift_dates else [])):
        check_ours(output / name)
    if (prefix := options.prefix) is not None and not _is_prefix(prefix):
        raise ConfigError(
            f"--prefix is {prefix!r}, expected letters, digits and up to two hyphens, and no name "
            "of a public data set",
            remedy="give a name such as CLINIC",
        )


def _is_prefix(prefix: str) -> bool:
    """Whether names with a prefix are read as those of `convert`, not of a public data set."""
    return bool(_PREFIX.fullmatch(prefix)) and layout_of(f"{prefix}-00001-000") is CONVERTED


def _check_known(output: Path, table: PseudonymTable) -> None:
    """Refuse a folder with cases that the table does not name: their patients would be unknown."""
    known = {entry.case_id for entry in table.entries}
    unknown = [case_id for case_id in read_record(output) if case_id not in known]
    if unknown:
        raise OutputError(
            f"{output} holds {number_of(len(unknown), 'case')}, such as {unknown[0]}, that the "
            f"table of pseudonyms {table.path} does not name",
            remedy="give the table of these cases with --pseudonyms, or choose another folder "
            "with -o",
            path=output,
        )


def _nothing(source: Path, finding: SourceFinding) -> DataListError:
    reasons = dict.fromkeys(one.reason for one in finding.left_out)
    reasons |= dict.fromkeys(one.facts.by_hand_only for one in finding.series)
    found = f": {cut(', '.join(reasons), 300)}" if reasons else ""
    return DataListError(
        f"{source} holds no series that can be converted{found}",
        remedy="give a folder of DICOM, MHA, NRRD, Analyze or NIfTI files",
        path=source,
    )


def _no_channel(source: Path) -> DataListError:
    return DataListError(
        f"no series of {source} becomes a channel",
        remedy="name the channels with --channel CHANNEL=PATTERN; 2D images need no conversion, "
        "split and infer read them",
        path=source,
    )
