"""Pseudonyms: names of cases that say nothing of the patient but the order of examinations.

Names never change: a later conversion reads the table of pseudonyms again and extends it.
"""

from __future__ import annotations

import datetime
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from volseg.conversion.alike_ids import alike_patients
from volseg.conversion.dicom.people import contradiction
from volseg.conversion.pseudonym_table import Entry, PseudonymTable
from volseg.conversion.series import Patient, Study

_MOST_DAYS = 3650


@dataclass(frozen=True)
class Examination:
    """An examination of the source that needs a name.

    Attributes:
        patient: The person.
        study: The examination.
        source: Where its first file lies.
        name: Name that the case keeps; "" for a pseudonym.
    """

    patient: Patient
    study: Study
    source: str = ""
    name: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Patient and examination, as the table writes them."""
        return plain(self.patient.key), plain(self.study.key)


@dataclass(frozen=True)
class Named:
    """Names of examinations.

    Attributes:
        table: The table with them.
        case_ids: Case by `Examination.key`.
        refused: Why an examination got no name, by `Examination.key`.
        unordered: Patients, by their first case, with several examinations without date, or
            of one date and time.
        alike: Cases of two patients whose ids are nearly equal, and whom nothing else separates.
    """

    table: PseudonymTable
    case_ids: Mapping[tuple[str, str], str]
    refused: Mapping[tuple[str, str], str]
    unordered: tuple[str, ...] = ()
    alike: tuple[tuple[str, str], ...] = ()


def named(table: PseudonymTable, examinations: Iterable[Examination]) -> Named:
    """Names of examinations: those of the table, and new ones for new examinations.

    New patients get the next free numbers in random order, since the order of their names or
    dates would say who they are. New examinations of a patient get time points in the order of
    their dates, and none if one of them is earlier than an examination that has a name.
    """
    case_ids = {entry.key: entry.case_id for entry in table.entries}
    new: dict[str, list[Examination]] = {}
    examinations = tuple(examinations)
    for one in examinations:
        if one.key not in case_ids:
            new.setdefault(one.key[0], []).append(one)
    naming = _Naming(table.entries, table.prefix)
    patients = list(new)
    secrets.SystemRandom().shuffle(patients)
    for patient in patients:
        naming.add(patient, new[patient])
    extended = replace(table, entries=tuple(naming.entries))
    case_ids = {entry.key: entry.case_id for entry in naming.entries}
    alike = alike_patients(naming.entries, {one.key[0] for one in examinations})
    return Named(extended, case_ids, naming.refused, tuple(naming.unordered), alike)


class _Naming:
    """Gives names to new examinations."""

    def __init__(self, entries: Sequence[Entry], prefix: str) -> None:
        self.entries, self.prefix = list(entries), prefix
        self.refused: dict[tuple[str, str], str] = {}
        self.unordered: list[str] = []
        numbers = [int(match["number"]) for e in entries if (match := e.pseudonym)]
        self.next = max(numbers, default=0) + 1

    def add(self, patient: str, examinations: Sequence[Examination]) -> None:
        known = [entry for entry in self.entries if entry.patient_key == patient]
        examinations = self._of_person([_person(entry) for entry in known], examinations)
        shift = known[0].shift_days if known else secrets.randbelow(_MOST_DAYS) + 1
        new = sorted((_entry(one, shift) for one in examinations), key=_order)
        last = max((entry.when for entry in known if entry.date), default=None)
        late = [entry for entry in new if entry.date and last and entry.when < last]
        for entry in late:
            self.refused[entry.key] = (
                "the examination is earlier than another of the patient that has a name, and names "
                "do not change; convert all examinations of the patient into a new folder with a "
                "new table"
            )
        new = [entry for entry in new if entry not in late]
        named = self._with_names(known, new, {one.key: one.name for one in examinations})
        of_patient = [*known, *named]
        undated = any(entry.date is None for entry in of_patient) and len(of_patient) > 1
        at_once = len({entry.when for entry in of_patient}) < len(of_patient)
        if named and (undated or at_once):
            self.unordered.append(named[0].case_id)
        self.entries += named

    def _of_person(
        self, known: Sequence[Patient], examinations: Sequence[Examination]
    ) -> list[Examination]:
        """The examinations of a known person; those of another under the same id are refused."""
        ours = []
        for one in examinations:
            if fault := contradiction([*known, one.patient]):
                self.refused[one.key] = (
                    f"its Patient ID is that of another person in the table of pseudonyms: {fault}"
                    "; correct the header, or convert it into another folder with -o"
                )
            else:
                ours.append(one)
        return ours

    def _with_names(
        self, known: Sequence[Entry], new: Sequence[Entry], kept: Mapping[tuple[str, str], str]
    ) -> list[Entry]:
        matches = [match for e in known if (match := e.pseudonym)]
        if matches:
            start = f"{matches[0]['prefix']}-{matches[0]['number']}"
        else:
            start = f"{self.prefix}-{self.next:05d}"
        point = max((int(match["point"]) for match in matches), default=-1) + 1
        named = []
        for entry in new:
            case_id = kept[entry.key]
            if not case_id:
                case_id, point = f"{start}-{point:03d}", point + 1
            named.append(replace(entry, case_id=case_id, is_kept=bool(kept[entry.key])))
        if not matches and any(not kept[entry.key] for entry in new):
            self.next += 1
        return named


def _person(entry: Entry) -> Patient:
    """The person of an entry; a date in the form of a spreadsheet counts as unknown."""
    try:
        born = datetime.date.fromisoformat(entry.facts.get("birth_date", ""))
    except ValueError:
        born = None
    return Patient(entry.patient_key, name=entry.facts.get("patient_name"), birth_date=born)


def _order(entry: Entry) -> tuple[object, ...]:
    """Date and time, then the numbers in source and key, as in visit_2 and visit_10."""
    parts = re.split(r"(\d+)", f"{entry.facts['source']}/{entry.study_key}")
    return entry.when, [part.zfill(20) if part.isdigit() else part for part in parts]


def _entry(one: Examination, shift: int) -> Entry:
    patient, study = one.patient, one.study
    facts = {
        "patient_id": patient.id or "",
        "patient_name": patient.name or "",
        "birth_date": str(patient.birth_date or ""),
        "source": one.source,
    }
    time = "" if study.time is None else study.time.isoformat("seconds")
    cells = {name: plain(text) for name, text in facts.items()}
    return Entry("", *one.key, cells, study.date, time, shift)


def plain(text: str) -> str:
    """A text that a table can hold, equal for equal texts."""
    return text.replace("\0", "").encode("utf-8", "backslashreplace").decode()
