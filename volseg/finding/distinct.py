"""Cases of several folders as one set: without copies, each with its own name and patient."""

from __future__ import annotations

import filecmp
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.cases.case import Case
from volseg.cases.identity import (
    NUMBERED_PATIENT,
    is_examination,
    may_be_examination,
    patient_key,
    patient_of,
    unfit_name,
)
from volseg.cases.layouts import Layout
from volseg.finding.finding import Skipped

# A name that this many folders share is probably not a patient, and neither is a small number.
_SHARED = 3
_SMALL_NUMBER = re.compile(r"\d{1,3}")
# A folder with more cases belongs to a site or a part of the data, not to a patient.
_MOST = 10


@dataclass(frozen=True)
class Found:
    """A case, with the folders where it was found.

    Attributes:
        case: The case.
        layout: Layout of its files.
        home: Folder of the case, perhaps shared with other cases.
        container: Folder around the case, which may be the folder of a patient.
        top: Folder that was searched.
        given: Whether the user gave a pattern that finds the patient.
    """

    case: Case
    layout: Layout
    home: Path
    container: Path
    top: Path
    given: bool = False


def distinct(
    found: Sequence[Found], skipped: Iterable[Skipped]
) -> tuple[list[Found], list[Skipped], list[str]]:
    """Cases with unique names, everything that is left out, and notes.

    A case is a copy if another case of the same name has the same files, byte by byte. Different
    cases of the same name get names from their paths below the searched folder. If a patient has
    several known names, all cases of the patient get the same one.

    Args:
        found: Cases that were found.
        skipped: Files and cases that were already left out.
    """
    skipped = list(dict.fromkeys(skipped))
    base = _base(found)
    named: dict[str, list[Found]] = defaultdict(list)
    for one in found:
        named[one.case.case_id].append(one)
    sizes = Counter(one.container for one in found)
    kept: list[Found] = []
    copies: list[Skipped] = []
    for members in named.values():
        is_patient = _is_patient_name(members, sizes)
        originals: list[Found] = []
        for of_one_patient in _by_patient(members, is_patient=is_patient):
            used, left_out = _without_copies(of_one_patient)
            originals += used
            copies += left_out
        kept += _with_own_names(originals, base, is_patient=is_patient)
    kept, unclear = _with_valid_names(kept)
    lost = _skipped_with_own_names(skipped, set(named), base)
    return _with_one_patient_name(kept), [*lost, *copies, *unclear], _notes(kept)


def _base(found: Sequence[Found]) -> Path:
    tops = {one.top for one in found}
    return Path(os.path.commonpath(tops)) if tops else Path()


def _is_patient_name(members: Sequence[Found], sizes: Mapping[Path, int]) -> bool:
    """Whether the name that cases share belongs to a patient, and not to examinations.

    Args:
        members: Cases of the same name.
        sizes: Number of cases in each folder.
    """
    name = members[0].case.case_id
    if is_examination(name):
        return False
    if NUMBERED_PATIENT.fullmatch(name) or patient_of(name) != name:
        return True
    if any(sizes[one.container] > _MOST for one in members) or len(sizes) == 1:
        return True
    shared = len(members) >= _SHARED or (len(members) > 1 and _SMALL_NUMBER.fullmatch(name))
    return not (shared or may_be_examination(name))


def _by_patient(members: Sequence[Found], *, is_patient: bool) -> list[list[Found]]:
    """Cases of the same name, grouped by the given patient, or else by name or folder."""
    patients: dict[str, list[Found]] = defaultdict(list)
    for one in members:
        folder = "" if is_patient else one.container.name.casefold()
        patients[one.case.patient_id if one.given else folder].append(one)
    return list(patients.values())


def _without_copies(members: Sequence[Found]) -> tuple[list[Found], list[Skipped]]:
    """Different cases of the same name, those with a label map first, and their copies."""
    originals: list[Found] = []
    copies: list[Skipped] = []
    for one in sorted(members, key=lambda one: not one.case.label):
        first = next((other for other in originals if _is_copy(one.case, other.case)), None)
        if first is None:
            originals.append(one)
        elif first.case.images != one.case.images:
            place = first.case.images[0].parent
            reason = f"copy of case {one.case.case_id} in {place}, which is used"
            copies.append(Skipped(one.case.images[0].parent, reason))
    return originals, copies


def _is_copy(case: Case, of: Case) -> bool:
    """Whether all files of a case have the same bytes as the files of case `of`."""
    label = case.label == of.label or not case.label or _are_equal(case.label, of.label)
    return label and (case.images == of.images or _are_equal(case.images, of.images))


def _are_equal(files: Sequence[Path], others: Sequence[Path]) -> bool:
    """Whether two lists of files have the same bytes, file by file."""
    if len(files) != len(others):
        return False
    try:
        return all(
            file == other or filecmp.cmp(file, other, shallow=False)
            for file, other in zip(files, others, strict=True)
        )
    except OSError:
        return False


def _with_own_names(members: Sequence[Found], base: Path, *, is_patient: bool) -> list[Found]:
    """Cases of the same name, renamed after their paths if the name is not unique."""
    tops = {one.top for one in members}
    renamed = []
    for one in members:
        # A single searched folder may or may not belong to a patient.
        of_folder = not is_patient and (one.container != one.top or len(tops) > 1)
        case = one.case
        if of_folder and not one.given:
            case = replace(case, patient_id=patient_of(one.container.name))
        if len(members) > 1 or (of_folder and one.home.name == case.case_id):
            case = replace(case, case_id=_path_id(one, base))
        renamed.append(replace(one, case=case))
    return renamed


def _skipped_with_own_names(
    skipped: Iterable[Skipped], used: Collection[str], base: Path
) -> list[Skipped]:
    """Entries, with cases renamed after their paths if their name is not unique."""
    skipped = list(skipped)
    times = Counter(entry.case_id for entry in skipped)
    times.update(used)
    return [
        replace(entry, case_id=_joined(_folder(entry.path), base, entry.case_id))
        if entry.case_id is not None and times[entry.case_id] > 1
        else entry
        for entry in skipped
    ]


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _path_id(one: Found, base: Path) -> str:
    return _joined(one.home, base, one.case.case_id)


def _joined(home: Path, base: Path, name: str) -> str:
    """Name of a case after its folders."""
    parts = list(home.relative_to(base).parts) if home.is_relative_to(base) else []
    return "_".join(parts if parts[-1:] == [name] else [*parts, name])


def _with_valid_names(found: Sequence[Found]) -> tuple[list[Found], list[Skipped]]:
    """Cases with unique names that are valid for result files, and entries of other cases."""
    times = Counter(one.case.case_id for one in found)
    kept: list[Found] = []
    skipped = []
    for one in found:
        name = one.case.case_id
        if unfit := unfit_name(name):
            reason = f"the name {unfit}; rename the files"
        elif times[name] > 1:
            reason = f"{times[name]} cases would have this name; rename their folders"
        else:
            kept.append(one)
            continue
        skipped.append(Skipped(one.case.images[0].parent, reason, name))
    return kept, skipped


def _with_one_patient_name(found: Iterable[Found]) -> list[Found]:
    """Cases in which each patient has a single name, even if several spellings are known."""
    found = list(found)
    spelling: dict[str, str] = {}
    for patient in sorted(one.case.patient_id for one in found):
        spelling.setdefault(patient_key(patient), patient)
    return [
        replace(one, case=replace(one.case, patient_id=spelling[patient_key(one.case.patient_id)]))
        for one in found
    ]


def _notes(found: Iterable[Found]) -> list[str]:
    """Notes on cases whose names differ only in letter case."""
    spellings: dict[str, list[str]] = defaultdict(list)
    for one in found:
        spellings[one.case.case_id.casefold()].append(one.case.case_id)
    return [
        f"the names of cases {' and '.join(sorted(names))} differ only in letter case; on a file "
        "system that ignores letter case, their results replace each other"
        for names in spellings.values()
        if len(names) > 1
    ]
