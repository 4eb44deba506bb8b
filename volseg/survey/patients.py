"""Warnings that scans of one patient may be in training and validation, unseen in file names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from volseg.cases.case import Case
from volseg.cases.layouts import Layout, release_of

# A name that ends in a small number may count patients or examinations; if other digits come before
# it, rather examinations.
_COUNTED = re.compile(r"(?P<patient>.*\d.*?)[-_.]\d{1,2}")
# Largest number of examinations of a patient.
_MOST = 10
_FOLDERS = 3


def doubts(
    cases: Sequence[Case], layout_of: Mapping[str, Layout], *, by_pattern: bool
) -> tuple[str, ...]:
    """Warnings that scans of one patient may be in training and in validation.

    Args:
        cases: Cases to train on.
        layout_of: Layout by case id.
        by_pattern: Whether the user gave a pattern that finds the patient in names.
    """
    found = [] if by_pattern and _are_matched(cases) else [unmatched_releases(cases)]
    if not by_pattern:
        found += [unknown_patients(cases, layout_of), perhaps_one_patient(cases, layout_of)]
    return tuple(doubt for doubt in found if doubt)


def _are_matched(cases: Iterable[Case]) -> bool:
    """Whether any patient has cases of several releases."""
    releases: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        if release := release_of(case.case_id):
            releases[case.patient_id].add(release)
    return any(len(found) > 1 for found in releases.values())


def unknown_patients(cases: Iterable[Case], layout_of: Mapping[str, Layout]) -> str | None:
    """Warning if the names of images do not contain the patient; else None."""
    unknown = sum(
        layout_of[case.case_id].patients == "unknown" and case.patient_id == case.case_id
        for case in cases
    )
    if not unknown:
        return None
    return (
        f"no patient is known for {unknown} images: each counts as a separate patient. "
        "Neighbouring slices of a patient may then be in training and in validation, and scores "
        "will be too good. If file names contain the patient, give --patient-regex REGEX"
    )


def unmatched_releases(cases: Iterable[Case]) -> str | None:
    """Warning if combined releases may hold the same patients under other names; else None."""
    releases = sorted({release for case in cases if (release := release_of(case.case_id))})
    if len(releases) < 2:
        return None
    by_number = {"BraTS 2021", "BraTS-GLI of 2023 and later"} == set(releases)
    how = "names match by number alone" if by_number else "names do not show"
    return (
        f"{', '.join(releases)} are combined: they may hold the same patients under different "
        f"names, which {how}. A patient may then be in training and in validation, and scores will "
        "be too good; give the patient of each case in a data list or with --patient-regex, or use "
        "one release"
    )


def perhaps_one_patient(cases: Iterable[Case], layout_of: Mapping[str, Layout]) -> str | None:
    """Warning if unknown names or folders seem to count examinations of a patient; else None."""
    counted: dict[str, list[str]] = defaultdict(list)
    beside: dict[object, list[str]] = defaultdict(list)
    for case in cases:
        layout = layout_of[case.case_id]
        if case.patient_id != case.case_id or layout.patients == "known":
            continue
        if match := _COUNTED.fullmatch(case.case_id):
            counted[match["patient"]].append(case.case_id)
        if not layout.slices:
            home = case.images[0].parent
            beside[home.parent if home.name == case.case_id else home].append(case.case_id)
    groups = [names for names in counted.values() if 1 < len(names) <= _MOST]
    folders = [names for names in beside.values() if len(names) > 1]
    if not groups and len(beside) >= _FOLDERS and all(len(n) <= _MOST for n in beside.values()):
        groups = folders
    if not groups:
        return None
    first, second, *_ = groups[0]
    return (
        f"cases such as {first} and {second} count as different patients; if they are examinations "
        "of one patient, give a pattern that finds the patient in names: --patient-regex REGEX"
    )
