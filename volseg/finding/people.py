"""Whose examination a case is, by the folders above it.

A folder may be named after a patient, an examination (`week-000`, `2020`, `1`, `MRI`) or a part of
the data (`siteA`, `train`, also `2020`). A name alone does not tell a year or a number of an
examination from a number of a patient; the names beside it and the same name elsewhere do.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.cases.case import Case
from volseg.cases.identity import (
    NUMBERED_PATIENT,
    is_examination,
    is_year,
    may_be_examination,
    patient_of,
    says_nothing,
)
from volseg.cases.layouts import Layout

# A name that this many folders share is probably not a patient, and neither is a small number.
_SHARED = 3
_SMALL_NUMBER = re.compile(r"\d{1,3}")
# A folder with more cases belongs to a site or a part of the data, not to a patient.
_MOST = 10
_YEAR, _NUMBER, _EXAMINATION = "year", "number", "examination"
_PART = re.compile(
    r"(?:(?:sites?|cent(?:er|re)s?|hospitals?|clinics?|institution|train(?:ing)?|val(?:id(?:ation)?)?"
    r"|test(?:ing)?|folds?|splits?|cohorts?|groups?|batch(?:es)?|parts?|data(?:sets?)?|raw(?:data)?"
    r"|images|controls?|health[yi]\w*|tumou?rs?|gliomas?|[hl]gg|gbm)"
    r"(?:[-_ ]?(?:data|set|\d+|[a-z]))?|patients|subjects|cases|scans|(?:brats|tcga|tcia).*)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Assumption:
    """What is assumed of the patient of a case.

    Attributes:
        text: The assumption, which names neither patient nor folder.
        example: Names to which it applies.
    """

    text: str
    example: str

    def __str__(self) -> str:
        return f"{self.text}, such as {self.example}"


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
        by_folder: Whether folders name the patient, and the name of the case does not.
        assumed: What is assumed of the patient.
    """

    case: Case
    layout: Layout
    home: Path
    container: Path
    top: Path
    given: bool = False
    by_folder: bool = False
    assumed: tuple[Assumption, ...] = ()


#: Name of a case or of a folder above it, and the folder around it.
_Step = tuple[str, Path]


class People:
    """Patients of cases, by all folders of the cases.

    Args:
        found: All cases.
    """

    def __init__(self, found: Sequence[Found]) -> None:
        self._tops = {one.top for one in found}
        self._containers = {one.container for one in found}
        self._children: dict[Path, set[str]] = defaultdict(set)
        self._around: dict[str, set[Path]] = defaultdict(set)
        for one in found:
            for name, around in self._steps(one):
                self._children[around].add(name)
                self._around[name].add(around)
        # Names of which any folder is too large, or all folders are of numbered patients.
        self._in_large = {
            name
            for name, around in self._around.items()
            if any(len(self._children[folder]) > _MOST for folder in around)
        }
        self._below_patients = {
            name
            for name, around in self._around.items()
            if all(NUMBERED_PATIENT.fullmatch(folder.name) for folder in around)
        }
        self._mixed: frozenset[Path] = frozenset()
        self._counted = {kind: self._counted_in(kind) for kind in (_YEAR, _NUMBER)}
        self._mixed = frozenset(filter(self._holds_an_examination, self._children))
        self._counted = {kind: of | self._mixed_with(kind) for kind, of in self._counted.items()}
        self._assumed = {kind: self._as_examinations(kind) for kind in self._counted}

    def with_patient(self, one: Found) -> Found:
        """A case with its patient: the first name from the case upwards that is no examination."""
        if one.given:
            return one
        assumed: dict[str, Assumption] = {}
        for level, (name, around) in enumerate(self._steps(one)):
            if not self._is_of_patient(name, around):
                if level == 0:
                    return self._with_own_patient(one)
                case = replace(one.case, patient_id=patient_of(name))
                return replace(one, case=case, by_folder=True, assumed=tuple(assumed.values()))
            kind = _kind(name)
            if kind and around in self._counted[kind]:
                assumed[kind] = self._assumed[kind]
        return one

    def _steps(self, one: Found) -> list[_Step]:
        """The case and the folders above it, up to the searched folder."""
        steps = [(one.case.case_id, one.container)]
        folder = one.container
        while folder not in (one.top, folder.parent):
            steps.append((folder.name, folder.parent))
            folder = folder.parent
        if len(self._tops) > 1:
            steps.append((one.top.name, one.top.parent))
        return steps

    def _is_of_patient(self, name: str, around: Path) -> bool:
        """Whether a name is that of an examination of the patient of the folder around it."""
        if self._is_outside(around) or is_examination(name):
            return not self._is_outside(around)
        if NUMBERED_PATIENT.fullmatch(name) or patient_of(name) != name:
            return False
        if around in self._mixed and _doubtful_kind(name):
            return True
        if len(self._containers) == 1 or name in self._in_large:
            return False
        return self._is_perhaps_of_patient(name, around)

    def _is_perhaps_of_patient(self, name: str, around: Path) -> bool:
        if name in self._below_patients:
            return True
        if kind := _kind(name):
            in_year = is_year(around.name) and around.parent in self._counted[_YEAR]
            return around in self._counted[kind] or in_year  # Adams/2020/03
        if says_nothing(name) or may_be_examination(name):
            return not _PART.fullmatch(around.name)
        return len(self._around[name]) >= _SHARED and not self._holds_patients(around)

    def _is_outside(self, around: Path) -> bool:
        """Whether a folder is above all that was searched, or the only one searched."""
        return around in self._tops if len(self._tops) == 1 else around not in self._children

    def _holds_patients(self, folder: Path) -> bool:
        """Whether the name of a folder is that of a part of the data, or of a time."""
        is_part = _PART.fullmatch(folder.name) is not None
        return self._is_outside(folder) or self._is_time(folder) or is_part

    def _is_time(self, folder: Path) -> bool:
        name = folder.name
        return is_examination(name) or may_be_examination(name) or is_year(name)

    def _counted_in(self, kind: str) -> frozenset[Path]:
        """Folders in which years, or small numbers, are examinations: all of them, or none.

        They are if several folders, none of a part of the data, hold years, or one small number.
        """
        alike = [around for name, around in self._around.items() if _kind(name) == kind]
        folders = {folder for around in alike for folder in around}
        possible = {
            folder
            for folder in folders
            if len(self._children[folder]) <= _MOST and not self._holds_patients(folder)
        }
        shared = any(len(around & possible) > 1 for around in alike)
        return frozenset(possible if shared or (kind == _YEAR and len(possible) > 1) else ())

    def _holds_an_examination(self, folder: Path) -> bool:
        """Whether a folder is that of a patient, by one examination in it.

        Numbers beside the examination are examinations too: Carl/2020 and Carl/1.
        """
        children = self._children[folder]
        if len(children) > _MOST or self._holds_patients(folder):
            return False
        return any(
            (is_examination(name) or _doubtful_kind(name)) and self._is_of_patient(name, folder)
            for name in children
        )

    def _mixed_with(self, kind: str) -> frozenset[Path]:
        """Folders with an examination that hold names of a kind."""
        return frozenset(
            folder
            for folder in self._mixed
            if any(_kind(name) == kind for name in self._children[folder])
        )

    def _with_own_patient(self, one: Found) -> Found:
        """A case that is no examination of the patient of a folder."""
        name, around = one.case.case_id, one.container
        kind, doubtful = _kind(name), _doubtful_kind(name)
        if not doubtful or self._is_outside(around) or self._is_time(around):
            return one
        if not _PART.fullmatch(around.name):
            if len(self._children[around]) > _MOST:
                return one
            return replace(one, assumed=(self._numbered(around, doubtful),))
        if not kind or len(self._around[name]) == 1:
            return one
        case = replace(one.case, patient_id=f"{around.name}_{name}")
        return replace(one, case=case, by_folder=True, assumed=(self._parted(name),))

    def _as_examinations(self, kind: str) -> Assumption:
        folder = min(self._counted[kind], default=Path())
        name = min((child for child in self._children[folder] if _kind(child) == kind), default="")
        text = f"folders named by {kind} are taken as examinations of the patient above them"
        return Assumption(text, f"{folder.name}/{name}")

    def _numbered(self, around: Path, kind: str) -> Assumption:
        text = f"names like {kind}s are taken as patients, not as examinations of one patient"
        alike = [name for name in self._children[around] if _doubtful_kind(name) == kind]
        return Assumption(text, " and ".join(sorted(alike)[:2]))

    def _parted(self, name: str) -> Assumption:
        text = "equal numbers in several parts of the data are taken as different patients"
        places = sorted(f"{folder.name}/{name}" for folder in self._around[name])
        return Assumption(text, " and ".join(places[:2]))


def _kind(name: str) -> str:
    """Kind of a name that counts examinations or patients; "" for other names."""
    if is_year(name):
        return _YEAR
    return _NUMBER if _SMALL_NUMBER.fullmatch(name) else ""


def _doubtful_kind(name: str) -> str:
    """Kind of a name that may mean an examination or a patient; "" for other names."""
    return _kind(name) or (_EXAMINATION if may_be_examination(name) else "")
