"""Find the cases in folders, tell their label schemes, share them out into folds, list them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from volseg.config import CHANNELS
from volseg.datalist import (
    Case,
    DataList,
    Finding,
    Skipped,
    assign_folds,
    find_cases,
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
from volseg.errors import DataListError, LabelError, VolsegError
from volseg.files import atomic_write, make_folder
from volseg.labels import get_scheme
from volseg.nifti import read_label_map
from volseg.progress import track

_REMEDY = f"say it with --labels NAME, or with --labels {FROM_CONFIG} if the config is to say it"


@dataclass(frozen=True)
class SplitResult:
    """A data list and how it came about.

    Attributes:
        path: Where the list was written.
        finding: The listed cases, and all that was left out.
        data_list: The list.
        decisions: A sentence for each group of cases: its label scheme, and what told it.
    """

    path: Path
    finding: Finding
    data_list: DataList
    decisions: tuple[str, ...]


def split(
    folders: Sequence[Path],
    output: Path,
    folds: int = 5,
    labels: str | None = None,
    seed: int = 0,
    channels: Sequence[str] = CHANNELS,
) -> SplitResult:
    """Write a data list of the cases in `folders`, in folds by patient.

    Cases with a label map are for training, those without for testing. The values of every label
    map are read and checked; a case whose label map cannot be used is left out.

    Args:
        folders: Where to look, in any layout that `find_cases` knows.
        output: JSON file to write; its folder is made.
        folds: Number of folds.
        labels: Label scheme of all label maps, or `FROM_CONFIG`; None: told by names and values.
        seed: Another seed gives other folds.
        channels: Contrasts that every case must have.

    Raises:
        ConfigError: If there is no label scheme called `labels`.
        DataListError: If there are no cases with label maps, or fewer patients than folds.
        LabelError: If the scheme of label maps cannot be told.
        OutputError: If the list cannot be written.
    """
    asked = get_scheme(labels).name if labels and labels != FROM_CONFIG else labels
    make_folder(output.parent, "choose another with -o")
    found = find_cases(folders, channels)
    read = read_values(found.cases)
    values = {case_id: seen for case_id, seen in read.items() if not isinstance(seen, str)}
    unreadable = [
        _left_out(case, reason)
        for case in found.cases
        if isinstance(reason := read.get(case.case_id), str)
    ]
    if asked is None:
        groups = group_cases(
            [c for c in found.cases if c.case_id in values], values, found.layout_of
        )
        schemes = tell_schemes(groups, _REMEDY)
    else:
        groups = [Group("as asked for", (), values)]
        schemes = dict.fromkeys(values, asked)
    labelled, misfits = _check_values(found.cases, values, schemes)
    skipped = [*unreadable, *misfits]
    if not labelled:
        raise DataListError(_no_label_maps(found, skipped))
    decisions = decisions_in_words(
        groups, {case.case_id: schemes[case.case_id] for case in labelled}
    )
    training = assign_folds(labelled, folds, seed)
    testing = tuple(case for case in found.cases if case.label is None)
    data_list = DataList(output.stem, _channels((*training, *testing), channels), training, testing)
    with atomic_write(output) as temporary:
        write_data_list(temporary, data_list, _root(folders))
    listed = Finding.of((*training, *testing), (*found.skipped, *skipped), found.layout_of)
    return SplitResult(output, listed, data_list, decisions)


def read_values(cases: Iterable[Case]) -> dict[str, Values | str]:
    """Values of each label map, by case, or why it cannot be read."""
    labelled = {case.case_id: case.label for case in cases if case.label}
    # Decompression lets go of Python's lock, so threads are enough.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = zip(labelled, pool.map(_values_of, labelled.values()), strict=True)
        return dict(track(read, "reading label maps", len(labelled)))


def _values_of(label: Path) -> Values | str:
    """Values of a label map, or why it cannot be read."""
    try:
        label_map, _ = read_label_map(label)
    except VolsegError as error:
        return str(error)
    return frozenset(np.flatnonzero(np.bincount(label_map.ravel(), minlength=256)).tolist())


def _left_out(case: Case, reason: str) -> Skipped:
    return Skipped(case.images[0].parent, f"case {case.case_id}: {reason}", case.case_id)


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
            get_scheme(name).check(values[case.case_id], f"label map {case.label}")
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


def _channels(cases: Iterable[Case], wanted: Sequence[str]) -> tuple[str, ...]:
    """Channels of the list: those of its files if all hold the same, else those asked for."""
    held = {case.channels for case in cases}
    return held.pop() if len(held) == 1 else tuple(wanted)


def _root(folders: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([os.path.normpath(folder.absolute()) for folder in folders]))
