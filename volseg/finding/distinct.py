"""Cases of several folders as one set: without copies, each with its own name and patient."""

from __future__ import annotations

import filecmp
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.cases.case import Case
from volseg.cases.identity import (
    NUMBERED_PATIENT,
    patient_key,
    patient_of,
    says_nothing,
    unfit_name,
)
from volseg.finding.finding import Skipped
from volseg.finding.people import Assumption, Found, People

# Files that hold an image, by the path that names it; by default that path.
_Stored = Mapping[Path, tuple[Path, ...]]


@dataclass(frozen=True)
class Distinct:
    """Cases with unique names.

    Attributes:
        kept: The cases.
        skipped: Everything that is left out.
        notes: Odd facts and assumptions, a clause each.
        copies: File that is used, by left-out file of equal bytes.
        unnamed: Cases with patients that are left out since their names cannot name results.
    """

    kept: list[Found]
    skipped: list[Skipped]
    notes: list[str]
    copies: Mapping[Path, Path]
    unnamed: list[Found]


def distinct(
    found: Sequence[Found], skipped: Iterable[Skipped], stored: _Stored | None = None
) -> Distinct:
    """Cases with unique names, everything that is left out, and notes.

    A case is a copy if another case of the same name has the same files, byte by byte. Different
    cases of the same name get names from their paths below the searched folder. If a patient has
    several known names, all cases of the patient get the same one.

    Args:
        found: Cases that were found.
        skipped: Files and cases that were already left out.
        stored: Files that hold an image, by the path that names it; None: that path.
    """
    skipped = list(dict.fromkeys(skipped))
    base, people = _base(found), People(found)
    named: dict[str, list[Found]] = defaultdict(list)
    for one in found:
        named[one.case.case_id].append(people.with_patient(one))
    tidy = _Copies(stored or {})
    kept: list[Found] = []
    for members in named.values():
        originals = [
            one
            for of_one in _by_patient(members)
            for one in _with_assumption(tidy.without_copies(of_one))
        ]
        kept += _with_own_names(originals, base)
    patients = _with_one_patient_name(kept)
    kept, unclear = _with_valid_names(patients)
    named_well = {id(one) for one in kept}
    unnamed = [one for one in patients if id(one) not in named_well]
    lost = _skipped_with_own_names(skipped, set(named), base)
    notes = dict.fromkeys([*_notes(kept), *_assumptions(kept)])
    left_out = [*lost, *tidy.skipped, *unclear]
    return Distinct(kept, left_out, list(notes), tidy.used, unnamed)


def _base(found: Sequence[Found]) -> Path:
    tops = {one.top for one in found}
    return Path(os.path.commonpath(tops)) if tops else Path()


def _by_patient(members: Sequence[Found]) -> list[list[Found]]:
    """Cases of the same name, grouped by patient; names such as `MRI` do not tell patients."""
    patients: dict[str, list[Found]] = defaultdict(list)
    for one in members:
        of_folder = one.by_folder and not says_nothing(one.case.case_id)
        patients[one.case.patient_id.casefold() if one.given or of_folder else ""].append(one)
    return list(patients.values())


def _with_assumption(used: Sequence[Found]) -> list[Found]:
    """Cases of the same name in several folders, which are assumed to be of one patient."""
    name = used[0].case.case_id
    is_known = NUMBERED_PATIENT.fullmatch(name) or patient_of(name) != name
    if len(used) < 2 or is_known or any(one.given or one.by_folder for one in used):
        return list(used)
    places = sorted(f"{one.container.name}/{name}" for one in used)
    text = "cases of one name in several folders are taken as examinations of one patient"
    assumed = Assumption(text, " and ".join(places[:2]))
    return [replace(one, assumed=(assumed,)) for one in used]


def _assumptions(found: Iterable[Found]) -> list[str]:
    """Each assumption once, with the first example."""
    first: dict[str, str] = {}
    for one in found:
        for assumed in one.assumed:
            first.setdefault(assumed.text, str(assumed))
    return list(first.values())


class _Copies:
    """Cases that are left out since another case of the same name has the same files.

    Attributes:
        skipped: An entry for each.
        used: File that is used, by left-out file.
    """

    def __init__(self, stored: _Stored) -> None:
        self.skipped: list[Skipped] = []
        self.used: dict[Path, Path] = {}
        self._stored = stored

    def without_copies(self, members: Sequence[Found]) -> list[Found]:
        """Different cases of the same name, those with a label map first."""
        originals: list[Found] = []
        of_size: dict[tuple[int, ...], list[Found]] = defaultdict(list)
        for one in sorted(members, key=lambda one: not one.case.label):
            alike = of_size[self._sizes(one.case)]
            first = next((o for o in alike if self._is_copy(one.case, o.case)), None)
            if first is None:
                originals.append(one)
                alike.append(one)
            elif first.case.images != one.case.images:
                place = first.case.images[0].parent
                reason = f"copy of case {one.case.case_id} in {place}, which is used"
                self.skipped.append(Skipped(one.case.images[0].parent, reason))
                self.used |= dict(zip(one.case.images, first.case.images, strict=True))
                self.used |= dict(zip(one.case.label, first.case.label, strict=False))
        return originals

    def _sizes(self, case: Case) -> tuple[int, ...]:
        """Sizes of the files of images; only cases of equal sizes are compared."""
        try:
            return tuple(file.stat().st_size for file in self._files(case.images))
        except OSError:
            return ()

    def _is_copy(self, case: Case, of: Case) -> bool:
        """Whether all files of a case have the same bytes as the files of case `of`."""
        label = not case.label or self._are_equal(case.label, of.label)
        return label and self._are_equal(case.images, of.images)

    def _are_equal(self, images: Sequence[Path], others: Sequence[Path]) -> bool:
        return images == others or _are_equal(self._files(images), self._files(others))

    def _files(self, images: Sequence[Path]) -> list[Path]:
        return [file for image in images for file in self._stored.get(image, (image,))]


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


def _with_own_names(members: Sequence[Found], base: Path) -> list[Found]:
    """Cases of the same name, renamed after their paths if the name is not unique."""
    renamed = []
    for one in members:
        case = one.case
        if len(members) > 1 or (one.by_folder and one.home.name == case.case_id):
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
