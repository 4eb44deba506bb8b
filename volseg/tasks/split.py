"""Find the cases in folders, decide their label schemes, assign folds, write a data list."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
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
    """What the user knows beyond the names of files.

    Attributes:
        patient_regex: Finds the patient in the names of files; see `find_cases`.
        spacing_mm: Size of a voxel of 2D slices along columns, rows and slices; None: not known.
        table: CSV file with a row for each patient; see `read_patient_table`.
        group_columns: Columns of `table` to list; None: those that group patients.
        validation: Patients of fold 0, all others being in fold 1; empty: folds are drawn.
        names: `CHANNEL=GLOB` of channels whose files have names that are not known.
        label_name: Ending of the names of label maps, if it is not known.
    """

    patient_regex: str | None = None
    spacing_mm: tuple[float, ...] | None = None
    table: Path | None = None
    group_columns: tuple[str, ...] | None = None
    validation: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    label_name: str | None = None


DEFAULTS = SplitOptions()


@dataclass(frozen=True)
class SplitResult:
    """A data list and how it came about.

    Attributes:
        path: Where the list was written.
        finding: The listed cases, and all that was left out.
        data_list: The list.
        decisions: A sentence for each group of cases: its label scheme, and what told it.
        notes: Sentences about patients, their table, and odd cases.
        warnings: What makes scores on this list doubtful.
        tumour_slices: Slices with any label but 0 of each labelled case, where there are stacks.
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

    Cases with a label map are for training, those without for testing. The values of every label
    map are read and checked, and so are the sizes of 2D images; a case that cannot be used is left
    out. Where there are stacks of slices, folds are alike in slices with tumour and institutions.

    Args:
        folders: Where to look, in any layout that `find_cases` knows.
        output: JSON file to write; its folder is made.
        folds: Number of folds.
        labels: Label scheme of all label maps, or `FROM_CONFIG`; None: told by names and values.
        seed: Another seed gives other folds.
        channels: Contrasts that every case must have; None: see `find_cases`.
        options: What the user knows beyond the names of files.

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
    found = find_cases(folders, channels, None, options.patient_regex, naming)
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
    training = _in_folds(cohort, folds, seed, options)
    cases = (*training, *cohort.unlabelled)
    data_list = DataList(output.stem, _channels(cases, channels), training, cohort.unlabelled)
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
        cohort.notes,
        warnings,
        cohort.tumour_slices,
    )


def _check_output(output: Path, folders: Sequence[Path], options: SplitOptions) -> None:
    """Make the folder of the data list; refuse, with OutputError, what is no place for one."""
    if output.suffix.lower() != ".json":
        raise OutputError(
            f"{output} does not end in .json, as a data list does", remedy="name it so", path=output
        )
    check_no_inputs([output], [*folders, *([options.table] if options.table else [])])
    remedy = "choose another name with -o, or move it away"
    if output.exists() and not output.is_dir() and not is_data_list(output):
        raise OutputError(
            f"{output} is there already and is no data list as volseg split wrote it",
            remedy=remedy,
            path=output,
        )
    if output.exists() and is_ours(output.with_name(ENVIRONMENT)):
        raise OutputError(f"{output} is the data list of a run", remedy=remedy, path=output)
    make_output(output.parent, [output.name])


def _check_options(options: SplitOptions) -> None:
    if options.group_columns and options.table is None:
        raise ConfigError(
            "--group-columns names columns of a table", remedy="give it with --table FILE.csv"
        )
    if options.spacing_mm is not None:
        checked_spacing(options.spacing_mm)


def _in_folds(cohort: Cohort, folds: int, seed: int, options: SplitOptions) -> tuple[Case, ...]:
    """Labelled cases in folds; of stacks, alike in slices with tumour and institutions."""
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
    """The problem, after the cases that were left out, before those that became one patient."""
    lost = [e for e in (*cohort.found.skipped, *cohort.lost) if e.case_id is not None]
    told = f"{problem} ({'; '.join(cohort.joins)})" if cohort.joins else problem
    if not lost:
        return told
    which = "" if len(lost) == 1 else "the first of them, "
    return f"{cases_in_words(len(lost))} left out ({which}{lost[0].sentence}), and {told}"


def _doubts(cohort: Cohort, training: Sequence[Case], options: SplitOptions) -> tuple[str, ...]:
    """What makes scores on the list doubtful: empty regions, patients, backgrounds."""
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
    """Channels of the list: those of its files if all hold the same, else those asked for."""
    held = {case.channels for case in cases}
    return held.pop() if len(held) == 1 else tuple(wanted or CHANNELS)


def _root(folders: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([os.path.normpath(folder.absolute()) for folder in folders]))
