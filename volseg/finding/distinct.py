"""Cases of several folders as one set: without copies, each with its own name and a patient."""

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

# What as many folders have in common is hardly the name of a patient, nor is a small number.
_SHARED = 3
_SMALL_NUMBER = re.compile(r"\d{1,3}")
# A folder of more cases is not that of a patient, but of a site or a part of the data.
_MOST = 10


@dataclass(frozen=True)
class Found:
    """A case as it was found.

    Attributes:
        case: The case.
        layout: How its files are named.
        home: Its folder, or that of several cases.
        container: The folder around it, which may be that of a patient.
        top: Folder that was searched.
        given: Whether the user said how to find the patient.
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
    """Cases that each bear a name of their own; all that is left out; notes.

    A case whose files are those of another of its name, byte by byte, is a copy. Where different
    cases bear one name, each is called by the path below the folder that was searched. Names of a
    patient that are known to be of one person become one.

    Args:
        found: The cases.
        skipped: What was left out before.
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
        says_who = _says_who(members, sizes)
        originals: list[Found] = []
        for of_one_patient in _by_patient(members, says_who=says_who):
            used, left_out = _without_copies(of_one_patient)
            originals += used
            copies += left_out
        kept += _called_apart(originals, base, says_who=says_who)
    kept, unclear = _with_names_of_files(kept)
    lost = _lost_apart(skipped, set(named), base)
    return _in_one_spelling(kept), [*lost, *copies, *unclear], _notes(kept)


def _base(found: Sequence[Found]) -> Path:
    tops = {one.top for one in found}
    return Path(os.path.commonpath(tops)) if tops else Path()


def _says_who(members: Sequence[Found], sizes: Mapping[Path, int]) -> bool:
    """Whether the name that some cases share is that of a patient, and not one of examinations.

    Args:
        members: Cases of one name.
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


def _by_patient(members: Sequence[Found], *, says_who: bool) -> list[list[Found]]:
    """Cases of one name by patient: as the user says, or, where the name does not, the folder."""
    patients: dict[str, list[Found]] = defaultdict(list)
    for one in members:
        folder = "" if says_who else one.container.name.casefold()
        patients[one.case.patient_id if one.given else folder].append(one)
    return list(patients.values())


def _without_copies(members: Sequence[Found]) -> tuple[list[Found], list[Skipped]]:
    """Cases of one name that differ, those with a label map first, and copies of them."""
    originals: list[Found] = []
    copies: list[Skipped] = []
    for one in sorted(members, key=lambda one: not one.case.label):
        first = next((other for other in originals if _is_copy(one.case, other.case)), None)
        if first is None:
            originals.append(one)
        elif first.case.images != one.case.images:
            place = first.case.images[0].parent
            reason = f"case {one.case.case_id} is also in {place}, which is used"
            copies.append(Skipped(one.case.images[0].parent, reason))
    return originals, copies


def _is_copy(case: Case, of: Case) -> bool:
    """Whether a case holds nothing that `of` does not hold."""
    label = case.label == of.label or not case.label or _are_equal(case.label, of.label)
    return label and (case.images == of.images or _are_equal(case.images, of.images))


def _are_equal(files: Sequence[Path], others: Sequence[Path]) -> bool:
    """Whether files hold the same bytes."""
    if len(files) != len(others):
        return False
    try:
        return all(
            file == other or filecmp.cmp(file, other, shallow=False)
            for file, other in zip(files, others, strict=True)
        )
    except OSError:
        return False


def _called_apart(members: Sequence[Found], base: Path, *, says_who: bool) -> list[Found]:
    """Cases of one name: as they are, or called by their paths where the name does not do."""
    tops = {one.top for one in members}
    apart = []
    for one in members:
        # Of one folder that was searched, nobody knows whether it is a patient.
        of_folder = not says_who and (one.container != one.top or len(tops) > 1)
        case = one.case
        if of_folder and not one.given:
            case = replace(case, patient_id=patient_of(one.container.name))
        if len(members) > 1 or (of_folder and one.home.name == case.case_id):
            case = replace(case, case_id=_path_id(one, base))
        apart.append(replace(one, case=case))
    return apart


def _lost_apart(skipped: Iterable[Skipped], used: Collection[str], base: Path) -> list[Skipped]:
    """What was left out, each case with a name of its own where others bear the same."""
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
    """Name of a case after the folders that it lies in."""
    parts = list(home.relative_to(base).parts) if home.is_relative_to(base) else []
    return "_".join(parts if parts[-1:] == [name] else [*parts, name])


def _with_names_of_files(found: Sequence[Found]) -> tuple[list[Found], list[Skipped]]:
    """Cases whose names can be those of results, and the others."""
    times = Counter(one.case.case_id for one in found)
    kept: list[Found] = []
    skipped = []
    for one in found:
        name = one.case.case_id
        if unfit := unfit_name(name):
            reason = f"the name {unfit}; rename the files"
        elif times[name] > 1:
            reason = f"{times[name]} cases would have this name; rename the folders of all but one"
        else:
            kept.append(one)
            continue
        skipped.append(Skipped(one.case.images[0].parent, reason, name))
    return kept, skipped


def _in_one_spelling(found: Iterable[Found]) -> list[Found]:
    """Cases in which no patient has two names that are known to be of one person."""
    found = list(found)
    spelling: dict[str, str] = {}
    for patient in sorted(one.case.patient_id for one in found):
        spelling.setdefault(patient_key(patient), patient)
    return [
        replace(one, case=replace(one.case, patient_id=spelling[patient_key(one.case.patient_id)]))
        for one in found
    ]


def _notes(found: Iterable[Found]) -> list[str]:
    """A note on cases whose names differ in letter case alone."""
    spellings: dict[str, list[str]] = defaultdict(list)
    for one in found:
        spellings[one.case.case_id.casefold()].append(one.case.case_id)
    return [
        f"cases {' and '.join(sorted(names))} differ in letter case alone; on a file system that "
        "ignores letter case, the result of one replaces that of the other"
        for names in spellings.values()
        if len(names) > 1
    ]
