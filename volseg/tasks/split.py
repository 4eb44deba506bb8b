"""Find the cases in folders, tell their label schemes, share them out into folds, list them."""

from __future__ import annotations

import contextlib
import logging
import os
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from volseg.cases.case import Case
from volseg.cases.data_list import DataList, write_data_list
from volseg.cases.folds import assign_folds, hold_out
from volseg.cases.patient_table import FILE_NAME, add_groups, read_patient_table
from volseg.cases.reading import grey_value_notes
from volseg.cases.same_scans import image_keys, join_patients
from volseg.config import CHANNELS
from volseg.config.section import SPACINGS_MM
from volseg.errors import ConfigError, DataListError, LabelError, OutputError, VolsegError
from volseg.files.ownership import check_no_inputs, is_data_list, is_ours
from volseg.files.writing import atomic_write, make_output
from volseg.finding.finding import Finding, Skipped
from volseg.finding.folders import find_cases
from volseg.finding.naming import Naming
from volseg.finding.skipped import in_words, notes_in_words
from volseg.labels import get_scheme
from volseg.runs.description import ENVIRONMENT
from volseg.survey.grey_values import borders, odd_borders, telling
from volseg.survey.label_maps import LabelMap, empty_regions, read_label_maps
from volseg.survey.likeness import alike
from volseg.survey.patients import perhaps_one_patient, unknown_patients, unmatched_releases
from volseg.survey.schemes import (
    FROM_CONFIG,
    Group,
    Values,
    decisions_in_words,
    group_cases,
    schemes_meant,
    tell_schemes,
    values_in_words,
)
from volseg.words import cases_in_words

logger = logging.getLogger(__name__)

_REMEDY = f"say it with --labels NAME, or with --labels {FROM_CONFIG} if the config is to say it"


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
    naming = Naming.parse(options.names, options.label_name)
    found = find_cases(folders, channels, None, options.patient_regex, naming)
    found, unlisted = _listable(found)
    cases, notes = _completed(found.cases, folders, options)
    found, label_maps, unreadable = _readable(replace(found, cases=cases))
    found, same, warnings = _joined(found, label_maps)
    values = {name: one.values for name, one in label_maps.items()}
    stacks = any(case.is_stack for case in found.cases)
    tumour_slices = {name: one.tumour_slices for name, one in label_maps.items() if stacks}
    groups, schemes = _schemes(found, values, asked)
    labelled, misfits = _check_values(found.cases, values, schemes)
    skipped = [*unlisted, *unreadable, *misfits]
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
        raise DataListError(_explained(error, (*found.skipped, *skipped), same)) from None
    data_list = DataList(output.stem, _channels((*training, *testing), channels), training, testing)
    with atomic_write(output) as temporary:
        write_data_list(temporary, data_list, _root(folders))
    table = options.table or _table_beside(found.cases, folders)
    left_out = [entry for entry in found.skipped if not _is_table(entry, table)]
    listed = Finding.of((*training, *testing), (*left_out, *skipped), found.layout_of, found.notes)
    warnings += empty_regions({case.case_id: values[case.case_id] for case in labelled}, schemes)
    warnings += _doubts(listed, training, options)
    warnings += _odd_backgrounds(labelled)
    for warning in warnings:
        logger.warning("%s", warning)
    odd = notes_in_words({name: one.notes for name, one in label_maps.items()})
    notes = (*notes, *same, *found.notes, *(f"label map of {note}" for note in odd))
    return SplitResult(output, listed, data_list, decisions, notes, warnings, tumour_slices)


def _odd_backgrounds(cases: Sequence[Case]) -> tuple[str, ...]:
    """What is odd about the backgrounds of cases, of which some are read whole."""
    found: dict[str, str] = {}
    odd = borders(cases)
    for case in telling(cases, odd):
        with contextlib.suppress(VolsegError):
            for note in grey_value_notes(case):
                found.setdefault(note.partition(": ")[2] or note, f"case {case.case_id}: {note}")
    return (*found.values(), *odd_borders(odd, len(cases)))


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
    spacing, (least, most) = options.spacing_mm, SPACINGS_MM
    if spacing is not None and not (len(spacing) == 3 and all(least <= s <= most for s in spacing)):
        raise ConfigError(
            f"--spacing is {','.join(f'{mm:g}' for mm in spacing)}, but three sizes of {least:g} "
            f"to {most:g} mm are expected, along columns, rows and slices",
            remedy="give them as 1,1,5",
        )


def _listable(found: Finding) -> tuple[Finding, list[Skipped]]:
    """Cases whose names can stand in a data list, which is UTF-8, and the others."""
    kept, unlisted = [], []
    for case in found.cases:
        try:
            "".join([case.case_id, *map(str, (*case.images, *case.label))]).encode()
            kept.append(case)
        except UnicodeError:
            reason = "its name is not UTF-8, as a data list is; rename its files and folders"
            unlisted.append(_left_out(case, reason))
    return replace(found, cases=tuple(kept)), unlisted


def _readable(found: Finding) -> tuple[Finding, dict[str, LabelMap], list[Skipped]]:
    """Cases that can be read, and their label maps; the others."""
    read = read_label_maps(case for case in found.cases if case.label or case.is_stack)
    label_maps = {name: one for name, one in read.items() if isinstance(one, LabelMap)}
    lost = {name: reason for name, reason in read.items() if isinstance(reason, str)}
    unreadable = [
        _left_out(case, lost[case.case_id]) for case in found.cases if case.case_id in lost
    ]
    cases = tuple(case for case in found.cases if case.case_id not in lost)
    return replace(found, cases=cases), label_maps, unreadable


def _joined(
    found: Finding, label_maps: Mapping[str, LabelMap]
) -> tuple[Finding, tuple[str, ...], tuple[str, ...]]:
    """Cases in which the same scan under two names is of one patient; notes and warnings of it."""
    cases = found.cases
    labelled = [case for case in cases if case.label]
    by_label = {name: {one.key} for name, one in label_maps.items() if one.key is not None}
    notes, all_same = [], []
    for what, keys, members in (
        ("label map", by_label, labelled),
        ("images", image_keys(cases), cases),
        ("image, though stored otherwise", _keys_of_pairs(alike(labelled, label_maps)), labelled),
    ):
        shared = _shared_by_all(keys, members)
        if shared:
            all_same.append(what)
        own = {name: set(of_case) - shared for name, of_case in keys.items()}
        cases, pairs = join_patients(cases, own)
        for first, second in pairs[:1]:
            told = f"{_pairs(len(pairs))}, such as {first} and {second}"
            notes.append(f"{told}: the same {what}, so taken for one patient")
    warnings = [
        f"all {len(found.cases)} cases have the same {' and the same '.join(all_same)}: copies of "
        "one scan, or placeholders; scores on this list say nothing of other scans"
    ]
    return replace(found, cases=cases), tuple(notes), tuple(warnings if all_same else ())


def _shared_by_all(
    keys: Mapping[str, Collection[Hashable]], cases: Sequence[Case]
) -> set[Hashable]:
    """Keys of all cases of three patients or more: of these, names alone part patients."""
    if len({case.patient_id for case in cases}) < 3:
        return set()
    return set.intersection(*(set(keys.get(case.case_id, ())) for case in cases))


def _keys_of_pairs(pairs: Iterable[tuple[Case, Case]]) -> dict[str, set[Hashable]]:
    keys: dict[str, set[Hashable]] = {}
    for one, two in pairs:
        for case in (one, two):
            keys.setdefault(case.case_id, set()).add((one.case_id, two.case_id))
    return keys


def _pairs(number: int) -> str:
    return "1 pair of cases" if number == 1 else f"{number} pairs of cases"


def _schemes(
    found: Finding, values: Mapping[str, Values], asked: str | None
) -> tuple[list[Group], dict[str, str]]:
    """Cases by what tells their label scheme, and the scheme of each."""
    if asked is not None:
        meant = [] if asked == FROM_CONFIG else schemes_meant(asked, values.values())
        if meant:
            raise LabelError(
                f"--labels {asked} is contradicted: the label maps hold the values "
                f"{values_in_words(values.values())}, which all fit {' or '.join(meant)}",
                remedy="say the scheme that they are in, or correct the label maps that are not",
            )
        return [Group("as asked for", (), values)], dict.fromkeys(values, asked)
    readable = [case for case in found.cases if case.case_id in values]
    groups = group_cases(readable, values, found.layout_of)
    return groups, tell_schemes(groups, _REMEDY)


def _completed(
    cases: tuple[Case, ...], folders: Sequence[Path], options: SplitOptions
) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Cases with what the user knows of them, and sentences about it."""
    notes = []
    if options.spacing_mm is not None:
        spacing = cast(tuple[float, float, float], options.spacing_mm)
        if not any(case.is_stack for case in cases):
            raise ConfigError(
                "--spacing is for 2D slices, and NIfTI files say theirs", remedy="leave it out"
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


def _doubts(listed: Finding, training: Sequence[Case], options: SplitOptions) -> tuple[str, ...]:
    """What makes it doubtful that the folds part patients."""
    doubts = [unmatched_releases(training)]
    if options.patient_regex is None:
        doubts.append(unknown_patients(training, listed.layout_of))
        doubts.append(perhaps_one_patient(training, listed.layout_of))
    return tuple(doubt for doubt in doubts if doubt)


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


def _no_label_maps(found: Finding, skipped: Sequence[Skipped]) -> str:
    """That no case can be trained on, and all that was left out, with the reason of each kind."""
    left_out = [*skipped, *found.skipped]
    told = f" (left out: {in_words(left_out)})" if left_out else ""
    if skipped:
        number = cases_in_words(len(skipped))
        first = skipped[0].reason
        return f"none of {number} has a usable label map; the first problem: {first}{told}"
    number = cases_in_words(len(found.cases))
    names = "; --label-name says how the names of label maps end" if left_out else ""
    return (
        f"none of {number} has a label map{told}; volseg infer takes folders without a data list"
        f"{names}"
    )


def _explained(error: DataListError, skipped: Iterable[Skipped], same: Sequence[str]) -> str:
    """The error, after the cases that were left out, before those that became one patient."""
    lost = [entry for entry in skipped if entry.case_id is not None]
    told = f"{error} ({'; '.join(same)})" if same else str(error)
    if not lost:
        return told
    which = "" if len(lost) == 1 else "the first of them, "
    return f"{cases_in_words(len(lost))} left out ({which}{lost[0].reason}), and {told}"


def _channels(cases: Iterable[Case], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Channels of the list: those of its files if all hold the same, else those asked for."""
    held = {case.channels for case in cases}
    return held.pop() if len(held) == 1 else tuple(wanted or CHANNELS)


def _root(folders: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([os.path.normpath(folder.absolute()) for folder in folders]))
