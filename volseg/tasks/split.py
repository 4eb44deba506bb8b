"""Find the cases in folders, decide their label schemes, assign folds, write a data list."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from volseg.cases.case import Case
from volseg.cases.data_list import DataList, write_data_list
from volseg.cases.folds import assign_folds, hold_out
from volseg.cases.patient_table import table_beside
from volseg.cases.slice_stack_case import checked_spacing
from volseg.config import CHANNELS
from volseg.errors import ConfigError, DataListError, OutputError
from volseg.files.ownership import check_no_inputs, is_data_list, is_ours
from volseg.files.paths import PathLike, paths_of
from volseg.files.writing import atomic_write, make_output
from volseg.finding.finding import Finding, Skipped
from volseg.finding.folders import find_cases
from volseg.finding.naming import Naming
from volseg.labels import get_scheme
from volseg.runs.description import ENVIRONMENT
from volseg.survey import patients
from volseg.survey.cohort import Cohort
from volseg.survey.grey_values import odd_backgrounds
from volseg.survey.label_maps import empty_regions
from volseg.survey.schemes import (
    FROM_CONFIG,
)
from volseg.words import cases_in_words

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitOptions:
    """Facts that the user gives beyond file names.

    Attributes:
        patient_regex: Pattern of the patient in file names; see `find_cases`.
        spacing_mm: Voxel size of 2D slices along columns, rows and slices; None: not known.
        table: CSV file with a row for each patient; see `read_patient_table`.
        group_columns: Columns of `table` to list; None: columns that group patients.
        validation: Patients of fold 0, with all others in fold 1; empty: folds are drawn.
        names: `CHANNEL=GLOB` of channels whose file names volseg does not know.
        label_name: Ending of the names of label maps, if volseg does not know it.
        fewer_folds: Whether fewer patients than folds get a fold each, at least two folds.
        incomplete: Whether cases are listed that lack channels, for `data.channel_dropout`.
    """

    patient_regex: str | None = None
    spacing_mm: tuple[float, ...] | None = None
    table: Path | None = None
    group_columns: tuple[str, ...] | None = None
    validation: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    label_name: str | None = None
    fewer_folds: bool = False
    incomplete: bool = False


DEFAULTS = SplitOptions()


@dataclass(frozen=True)
class SplitResult:
    """A data list, with notes for the user.

    Attributes:
        path: File of the list.
        finding: Listed cases, and files and cases that were left out.
        data_list: Content of the list.
        decisions: A sentence for each group of cases, with its label scheme and the source.
        notes: Notes on patients, their table, and odd cases.
        warnings: Reasons to doubt scores on this list.
        tumour_slices: Number of slices with any label but 0 by case id; empty without stacks.
    """

    path: Path
    finding: Finding
    data_list: DataList
    decisions: tuple[str, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tumour_slices: Mapping[str, int] = field(default_factory=dict)


def split(
    folders: PathLike | Sequence[PathLike],
    output: PathLike,
    folds: int = 5,
    labels: str | None = None,
    seed: int = 0,
    channels: Sequence[str] | None = None,
    options: SplitOptions = DEFAULTS,
) -> SplitResult:
    """Write a data list of the cases in `folders`, in folds by patient.

    Cases with a label map are for training, cases without for testing. The values of all label maps
    and the sizes of all 2D images are read and checked; a case that cannot be used is left out.
    Folds of stacks have similar numbers of slices with tumour and of patients by institution.

    Args:
        folders: Folders to search, in any layout that `find_cases` knows.
        output: JSON file to write; its folder is created if missing.
        folds: Number of folds.
        labels: Label scheme of all label maps, or `FROM_CONFIG`; None: decided by file names and
            values.
        seed: Seed of the random folds.
        channels: Contrasts that each case must have; None: see `find_cases`.
        options: Facts that the user gives beyond file names.

    Raises:
        ConfigError: If there is no label scheme called `labels`, or an option makes no sense.
        DataListError: If there are no cases with label maps, or fewer patients than folds, or the
            table cannot be used.
        LabelError: If the label scheme is not clear.
        OutputError: If the list cannot be written.
    """
    folders, output = paths_of(folders), Path(output)
    asked = get_scheme(labels).name if labels and labels != FROM_CONFIG else labels
    _check_options(options)
    _check_output(output, folders, options)
    naming = Naming.parse(options.names, options.label_name)
    required = () if options.incomplete else None
    found = find_cases(folders, channels, required, options.patient_regex, naming)
    spacing = None if options.spacing_mm is None else checked_spacing(options.spacing_mm)
    cohort = (
        Cohort(found)
        .listable()
        .completed(folders, spacing, options.table, options.group_columns)
        .read()
        .joined()
        .with_schemes(asked)
    )
    if not cohort.labelled:
        raise DataListError(cohort.no_label_maps())
    notes = list(cohort.notes)
    patient_count = len({case.patient_id for case in cohort.labelled})
    if options.fewer_folds and patient_count < folds:
        folds = max(2, patient_count)
        notes.append(f"{folds} folds, as there are only {patient_count} patients with a label map")
    training = _in_folds(cohort, folds, seed, options)
    cases = (*training, *cohort.unlabelled)
    data_list = DataList(output.stem, _channels(cases, channels), training, cohort.unlabelled)
    notes += _incomplete(cases, channels)
    with atomic_write(output) as temporary:
        write_data_list(temporary, data_list, _root(folders))
    table = options.table or table_beside(found.cases, folders)
    left_out = [entry for entry in found.skipped if not _is_table(entry, table)]
    listed = Finding.of(cases, (*left_out, *cohort.lost), found.layout_of, found.notes)
    warnings = (*cohort.warnings, *_doubts(cohort, training, options))
    for warning in warnings:
        logger.warning("%s", warning)
    return SplitResult(
        output,
        listed,
        data_list,
        cohort.decisions,
        tuple(notes),
        warnings,
        cohort.tumour_slices,
    )


def _check_output(output: Path, folders: Sequence[Path], options: SplitOptions) -> None:
    """Create the folder of the data list; OutputError if `output` must not be written."""
    if output.suffix.lower() != ".json":
        raise OutputError(
            f"{output} does not end in .json", remedy="name it such as list.json", path=output
        )
    check_no_inputs([output], [*folders, *([options.table] if options.table else [])])
    remedy = "choose another name with -o, or move the file away"
    if output.exists() and not output.is_dir() and not is_data_list(output):
        raise OutputError(
            f"{output} is there already and is no data list of volseg split",
            remedy=remedy,
            path=output,
        )
    if output.exists() and is_ours(output.with_name(ENVIRONMENT)):
        raise OutputError(f"{output} is the data list of a run", remedy=remedy, path=output)
    make_output(output.parent, [output.name])


def _check_options(options: SplitOptions) -> None:
    if options.group_columns and options.table is None:
        raise ConfigError(
            "--group-columns names columns of a table, but there is no table",
            remedy="give --table FILE.csv",
        )
    if options.spacing_mm is not None:
        checked_spacing(options.spacing_mm)


def _in_folds(cohort: Cohort, folds: int, seed: int, options: SplitOptions) -> tuple[Case, ...]:
    """Labelled cases with folds; for stacks balanced by slices with tumour and institution."""
    cases = cohort.labelled
    try:
        if options.validation:
            return hold_out(cases, options.validation)
        if not any(case.slices for case in cases):
            return assign_folds(cases, folds, seed)
        strata = {case.case_id: case.groups.get("institution", case.kind) for case in cases}
        return assign_folds(cases, folds, seed, cohort.tumour_slices, strata)
    except DataListError as error:
        raise DataListError(_explained(error.problem, cohort), remedy=error.remedy) from None


def _explained(problem: str, cohort: Cohort) -> str:
    """The problem, with left-out cases before it and joined cases after it."""
    lost = [e for e in (*cohort.found.skipped, *cohort.lost) if e.case_id is not None]
    with_joins = f"{problem} ({'; '.join(cohort.joins)})" if cohort.joins else problem
    if not lost:
        return with_joins
    which = "" if len(lost) == 1 else "the first of them, "
    return f"{cases_in_words(len(lost))} left out ({which}{lost[0].sentence}), and {with_joins}"


def _doubts(cohort: Cohort, training: Sequence[Case], options: SplitOptions) -> tuple[str, ...]:
    """Reasons to doubt scores on the list: empty regions, patients, backgrounds."""
    values = cohort.values
    given = options.patient_regex is not None
    return (
        *empty_regions({name: values[name] for name in cohort.schemes}, cohort.schemes),
        *patients.doubts(training, cohort.found.layout_of, by_pattern=given),
        *odd_backgrounds(cohort.labelled),
    )


def _is_table(entry: Skipped, table: Path | None) -> bool:
    return table is not None and entry.path == Path(os.path.normpath(table.absolute()))


def _channels(cases: Iterable[Case], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Channels of all cases if they are the same, else the wanted channels."""
    held = {case.channels for case in cases}
    return held.pop() if len(held) == 1 else tuple(wanted or CHANNELS)


def _incomplete(cases: Iterable[Case], wanted: Sequence[str] | None) -> Iterator[str]:
    """A note if cases lack channels."""
    asked = wanted or CHANNELS
    lacking = {
        case.case_id: missing
        for case in cases
        if not case.slices and (missing := [name for name in asked if name not in case.channels])
    }
    if lacking:
        case_id, missing = next(iter(lacking.items()))
        yield (
            f"{cases_in_words(len(lacking))} without some channels, such as {case_id} without "
            f"{', '.join(missing)}: train with data.channel_dropout, or fit leaves them out"
        )


def _root(folders: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([os.path.normpath(folder.absolute()) for folder in folders]))
