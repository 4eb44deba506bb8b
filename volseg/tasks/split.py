"""Find the cases in folders, tell their label schemes, share them out into folds, list them."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, cast

import numpy as np

from volseg import memory
from volseg.config import CHANNELS
from volseg.config.section import SPACINGS_MM
from volseg.datalist import (
    Case,
    DataList,
    Finding,
    Skipped,
    add_groups,
    assign_folds,
    find_cases,
    hold_out,
    read_patient_table,
    write_data_list,
)
from volseg.datalist.conventions import (
    FROM_CONFIG,
    Group,
    Values,
    cases_in_words,
    group_cases,
    tell_schemes,
    values_in_words,
)
from volseg.datalist.patients import FILE_NAME
from volseg.datalist.stacks import WITHOUT_PATIENT
from volseg.errors import (
    ConfigError,
    DataListError,
    GeometryError,
    LabelError,
    OutputError,
    VolsegError,
)
from volseg.files import atomic_write, make_output
from volseg.labels import get_scheme
from volseg.ownership import check_no_inputs
from volseg.progress import track
from volseg.scans import read_grid, read_reference, read_reference_grid

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_REMEDY = f"say it with --labels NAME, or with --labels {FROM_CONFIG} if the config is to say it"


@dataclass(frozen=True)
class SplitOptions:
    """What the user knows beyond the names of files.

    Attributes:
        patient_regex: Finds the patient in the name of a 2D image; see `find_cases`.
        spacing_mm: Size of a voxel of 2D slices along columns, rows and slices; None: not known.
        table: CSV file with a row for each patient; see `read_patient_table`.
        group_columns: Columns of `table` to list; None: those that group patients.
        validation: Patients of fold 0, all others being in fold 1; empty: folds are drawn.
    """

    patient_regex: str | None = None
    spacing_mm: tuple[float, ...] | None = None
    table: Path | None = None
    group_columns: tuple[str, ...] | None = None
    validation: tuple[str, ...] = ()


DEFAULTS = SplitOptions()


@dataclass(frozen=True)
class SplitResult:
    """A data list and how it came about.

    Attributes:
        path: Where the list was written.
        finding: The listed cases, and all that was left out.
        data_list: The list.
        decisions: A sentence for each group of cases: its label scheme, and what told it.
        notes: Sentences about patients and their table.
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


@dataclass(frozen=True)
class _LabelMap:
    """What a label map holds: its values, and the number of slices with any of them but 0."""

    values: Values
    tumour_slices: int


def split(
    folders: Sequence[Path],
    output: Path,
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
        LabelError: If the scheme of label maps cannot be told.
        OutputError: If the list cannot be written.
    """
    asked = get_scheme(labels).name if labels and labels != FROM_CONFIG else labels
    _check_options(options)
    _check_output(output, folders, options)
    found = find_cases(folders, channels, patient_regex=options.patient_regex)
    cases, notes = _completed(found.cases, folders, options)
    found, tumour_slices, values, unreadable = _readable(replace(found, cases=cases))
    groups, schemes = _schemes(found, values, asked)
    labelled, misfits = _check_values(found.cases, values, schemes)
    skipped = [*unreadable, *misfits]
    if not labelled:
        raise DataListError(_no_label_maps(found, skipped))
    decisions = decisions_in_words(
        groups, {case.case_id: schemes[case.case_id] for case in labelled}
    )
    testing = tuple(case for case in found.cases if not case.label)
    try:
        training = (
            hold_out(labelled, options.validation)
            if options.validation
            else _in_folds(labelled, folds, seed, tumour_slices)
        )
    except DataListError as error:
        raise DataListError(_with_lost_cases(error, (*found.skipped, *skipped))) from None
    data_list = DataList(output.stem, _channels((*training, *testing), channels), training, testing)
    with atomic_write(output) as temporary:
        write_data_list(temporary, data_list, _root(folders))
    table = options.table or _table_beside(found.cases, folders)
    left_out = [entry for entry in found.skipped if not _is_table(entry, table)]
    listed = Finding.of((*training, *testing), (*left_out, *skipped), found.layout_of, found.notes)
    warnings = _warnings(listed, training, options)
    return SplitResult(output, listed, data_list, decisions, notes, warnings, tumour_slices)


def _check_output(output: Path, folders: Sequence[Path], options: SplitOptions) -> None:
    """Make the folder of the data list; refuse, with OutputError, what is no place for one."""
    if output.suffix.lower() != ".json":
        raise OutputError(f"{output} does not end in .json, as a data list does; name it so")
    check_no_inputs([output], [*folders, *([options.table] if options.table else [])])
    make_output(output.parent, [output.name])


def _check_options(options: SplitOptions) -> None:
    if options.group_columns and options.table is None:
        raise ConfigError("--group-columns names columns of a table; give it with --table FILE.csv")
    spacing, (least, most) = options.spacing_mm, SPACINGS_MM
    if spacing is not None and not (len(spacing) == 3 and all(least <= s <= most for s in spacing)):
        raise ConfigError(
            f"--spacing is {','.join(f'{mm:g}' for mm in spacing)}, but three sizes of {least:g} "
            f"to {most:g} mm are expected, along columns, rows and slices; give them as 1,1,5"
        )


def _readable(
    found: Finding,
) -> tuple[Finding, dict[str, int], dict[str, Values], list[Skipped]]:
    """Cases that can be read, their slices with tumour, the values of label maps; the others."""
    read = _read((case for case in found.cases if case.label or case.is_stack), _read_case)
    label_maps = {name: one for name, one in read.items() if isinstance(one, _LabelMap)}
    lost = {name: reason for name, reason in read.items() if isinstance(reason, str)}
    unreadable = [
        _left_out(case, lost[case.case_id]) for case in found.cases if case.case_id in lost
    ]
    cases = tuple(case for case in found.cases if case.case_id not in lost)
    stacks = any(case.is_stack for case in cases)
    tumour_slices = {name: one.tumour_slices for name, one in label_maps.items() if stacks}
    values = {name: one.values for name, one in label_maps.items()}
    return replace(found, cases=cases), tumour_slices, values, unreadable


def _schemes(
    found: Finding, values: Mapping[str, Values], asked: str | None
) -> tuple[list[Group], dict[str, str]]:
    """Cases by what tells their label scheme, and the scheme of each."""
    if asked is not None:
        return [Group("as asked for", (), values)], dict.fromkeys(values, asked)
    readable = [case for case in found.cases if case.case_id in values]
    groups = group_cases(readable, values, found.layout_of)
    return groups, tell_schemes(groups, _REMEDY)


def read_values(cases: Iterable[Case]) -> dict[str, Values | str]:
    """Values of each label map, by case, or why it cannot be read."""
    read = _read((case for case in cases if case.label), _read_label_map)
    return {name: one.values if isinstance(one, _LabelMap) else one for name, one in read.items()}


def _read(cases: Iterable[Case], read_one: Callable[[Case], _T]) -> dict[str, _T | str]:
    """What `read_one` gives, by case, or why it cannot be read."""

    def attempt(case: Case) -> _T | str:
        try:
            with memory.in_words(f"case {case.case_id}"):
                return read_one(case)
        except VolsegError as error:
            return str(error)

    by_id = {case.case_id: case for case in cases}
    # Decompression lets go of Python's lock, so threads are enough.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = zip(by_id, pool.map(attempt, by_id.values()), strict=True)
        return dict(track(read, "reading label maps", len(by_id)))


def _read_label_map(case: Case) -> _LabelMap:
    label_map, _ = read_reference(case)
    values = frozenset(np.flatnonzero(np.bincount(label_map.ravel(), minlength=256)).tolist())
    return _LabelMap(values, int(label_map.any(axis=(0, 1)).sum()))


def _read_case(case: Case) -> _LabelMap | None:
    """Its label map; of slices, the images must be of one size, and that of their masks."""
    # The headers of volumes are looked at by `check`.
    grid = read_grid(case, case.channels) if case.is_stack else None
    if grid is not None and case.label and grid.shape != (size := read_reference_grid(case).shape):
        sizes = [" x ".join(map(str, shape[:2])) for shape in (grid.shape, size)]
        raise GeometryError(
            f"images have {sizes[0]} pixels, but their masks {sizes[1]}; give masks of that size"
        )
    return _read_label_map(case) if case.label else None


def _completed(
    cases: tuple[Case, ...], folders: Sequence[Path], options: SplitOptions
) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Cases with what the user knows of them, and sentences about it."""
    notes = []
    if options.spacing_mm is not None:
        spacing = cast(tuple[float, float, float], options.spacing_mm)
        if not any(case.is_stack for case in cases):
            raise ConfigError(
                "--spacing is for 2D slices, and NIfTI files say theirs; leave it out"
            )
        cases = tuple(replace(c, spacing_mm=spacing) if c.is_stack else c for c in cases)
    if options.table is not None:
        table = read_patient_table(options.table, options.group_columns)
        cases, sentence = add_groups(cases, table)
        notes.append(sentence)
    elif beside := _table_beside(cases, folders):
        notes.append(f"{beside} may tell more of the patients: list it with --table {beside}")
    stacks: Counter[str] = Counter()
    for case in cases:
        stacks[case.patient_id] += len(case.images) if case.is_stack else 0
    single = sum(number == 1 for number in stacks.values())
    if single and max(stacks.values()) > 1:
        notes.append(f"patients with a single slice: {single}")
    return cases, tuple(notes)


def _table_beside(cases: Iterable[Case], folders: Iterable[Path]) -> Path | None:
    """A table of patients in a folder that was searched, or beside the folders of cases."""
    places = dict.fromkeys([*folders, *(case.images[0].parent.parent for case in cases)])
    return next((path for folder in places if (path := folder / FILE_NAME).is_file()), None)


def _is_table(entry: Skipped, table: Path | None) -> bool:
    return table is not None and entry.path == Path(os.path.normpath(table.absolute()))


def _in_folds(
    cases: Sequence[Case], folds: int, seed: int, tumour_slices: Mapping[str, int]
) -> tuple[Case, ...]:
    """Cases in folds; where there are stacks, alike in slices with tumour and institutions."""
    if not any(case.is_stack for case in cases):
        return assign_folds(cases, folds, seed)
    strata = {
        case.case_id: case.groups.get("institution", "slices" if case.is_stack else "volumes")
        for case in cases
    }
    return assign_folds(cases, folds, seed, tumour_slices, strata)


def _warnings(listed: Finding, training: Sequence[Case], options: SplitOptions) -> tuple[str, ...]:
    if options.patient_regex is not None:
        return ()
    unknown = sum(listed.layout_of[case.case_id] in WITHOUT_PATIENT for case in training)
    if not unknown:
        return ()
    warning = (
        f"no patient is known for {unknown} images: each counts as a patient of its own. "
        "Neighbouring slices of one person may then lie in training and in validation, and scores "
        "will be too good. If the names of files tell the patient, say how: --patient-regex REGEX"
    )
    logger.warning("%s", warning)
    return (warning,)


def _left_out(case: Case, reason: str) -> Skipped:
    named = f"case {case.case_id}: "
    return Skipped(case.place, named + reason.removeprefix(named), case.case_id)


def _check_values(
    cases: Iterable[Case], values: Mapping[str, Values], schemes: Mapping[str, str]
) -> tuple[list[Case], list[Skipped]]:
    """Cases with their label scheme, and those whose values it does not define."""
    labelled, skipped = [], []
    for case in cases:
        if case.case_id not in values:
            continue
        name = schemes[case.case_id]
        if name == FROM_CONFIG:
            labelled.append(replace(case, labels=None))
            continue
        try:
            get_scheme(name).check(values[case.case_id], f"label map {case.label[0]}")
            labelled.append(replace(case, labels=name))
        except LabelError as error:
            skipped.append(_left_out(case, str(error)))
    return labelled, skipped


def decisions_in_words(groups: Iterable[Group], schemes: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each group: the scheme of its cases that are listed, and what told it."""
    sentences = []
    for group in groups:
        listed = {case_id: v for case_id, v in group.values.items() if case_id in schemes}
        if listed:
            scheme = schemes[next(iter(listed))]
            name = "of the config" if scheme == FROM_CONFIG else scheme
            sentences.append(
                f"labels {name} for {cases_in_words(len(listed))}: {group.told_by}, "
                f"values {values_in_words(listed.values())}"
            )
    return tuple(sentences)


def _no_label_maps(found: Finding, skipped: Sequence[Skipped]) -> str:
    if skipped:
        number = cases_in_words(len(skipped))
        return f"none of {number} has a usable label map; the first problem: {skipped[0].reason}"
    number = cases_in_words(len(found.cases))
    return f"none of {number} has a label map; volseg infer takes folders without a data list"


def _with_lost_cases(error: DataListError, skipped: Iterable[Skipped]) -> str:
    """The error, and the cases that are not there because they were left out."""
    lost = [entry for entry in skipped if entry.case_id is not None]
    left_out = (
        f" ({cases_in_words(len(lost))} left out, the first: {lost[0].reason})" if lost else ""
    )
    return f"{error}{left_out}"


def _channels(cases: Iterable[Case], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Channels of the list: those of its files if all hold the same, else those asked for."""
    held = {case.channels for case in cases}
    return held.pop() if len(held) == 1 else tuple(wanted or CHANNELS)


def _root(folders: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([os.path.normpath(folder.absolute()) for folder in folders]))
