"""Time points of patients: the order of their cases, by names or by a table."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.cases.identity import examination_of, patient_of
from volseg.cases.time_table import DATE, date_in, read_time_table
from volseg.errors import DataListError

#: Units of places that are no times in days, weeks, months or years.
EXAMINATION, TIME = "examination", "time"
DAYS = "days"

_UNITS: Mapping[str, str] = {
    **dict.fromkeys(("d", "day", "days"), DAYS),
    **dict.fromkeys(("w", "wk", "week", "weeks"), "weeks"),
    **dict.fromkeys(("mo", "month", "months"), "months"),
    **dict.fromkeys(("yr", "year", "years"), "years"),
}


@dataclass(frozen=True)
class TimePoint:
    """A case of a patient at a time.

    Attributes:
        case_id: Id of the case.
        place: Place on the axis of time, in the unit of the timeline.
        label: Date, time or examination, as the name or the table has it.
    """

    case_id: str
    place: float
    label: str


@dataclass(frozen=True)
class Timeline:
    """Cases of a patient in the order of time.

    Attributes:
        patient_id: Id of the patient.
        points: Two or more time points, each at a place of its own.
        unit: Unit of the places: `days` (from the first date, if there are dates), `weeks`,
            `months`, `years`, `time` as in a table, or `examination`, their number from 1.
    """

    patient_id: str
    points: tuple[TimePoint, ...]
    unit: str


@dataclass(frozen=True)
class Timelines:
    """Timelines of the patients with two or more cases.

    Attributes:
        found: A timeline for each patient whose cases have a clear order.
        unclear: Why the order of the cases of a patient is not clear, by patient.
        n_single: Number of patients with one case.
        left_out: Cases of the results that the table does not name.
        unmatched: Cases of the table that are not in the results.
    """

    found: tuple[Timeline, ...]
    unclear: Mapping[str, str]
    n_single: int = 0
    left_out: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()


def timelines_by_name(patients: Mapping[str, str]) -> Timelines:
    """Timelines by the names of cases: dates, numbers, or numbers with one word of time.

    Args:
        patients: Patient by case id.

    >>> (line,) = timelines_by_name({"p7_week-012": "p7", "p7_week-000": "p7"}).found
    >>> [(point.label, point.place) for point in line.points], line.unit
    ([('week-000', 0.0), ('week-012', 12.0)], 'weeks')
    """
    found, unclear = [], {}
    groups = _grouped(patients)
    for patient, cases in groups.items():
        if len(cases) < 2:
            continue
        if timeline := _by_date(patient, cases) or _by_number(patient, cases):
            found.append(timeline)
        else:
            unclear[patient] = (
                f"the names {', '.join(cases)} do not show which examination is the earlier"
            )
    return Timelines(tuple(found), unclear, _n_single(groups))


def timelines_by_table(path: Path, patients: Mapping[str, str]) -> Timelines:
    """Timelines by a table; see `read_time_table`.

    Args:
        path: The table.
        patients: Patient by case id of the results, used where the table has no patient.

    Raises:
        DataListError: If the table cannot be read, or names no case of the results.
    """
    table = read_time_table(path)
    rows = {case: row for case, row in table.items() if case in patients}
    if not rows:
        raise DataListError(
            f"no case of {path} is in the results: the table has {', '.join(list(table)[:3])}",
            remedy="name the cases as the results do",
            path=path,
        )
    found, unclear = [], {}
    groups = _grouped({case: row.patient_id or patients[case] for case, row in rows.items()})
    for patient, cases in groups.items():
        if len(cases) < 2:
            continue
        points = [TimePoint(case, rows[case].place, rows[case].label) for case in cases]
        are_dates = rows[cases[0]].is_date
        timeline = _timeline(patient, points, DAYS if are_dates else TIME, from_first=are_dates)
        if timeline:
            found.append(timeline)
        else:
            unclear[patient] = f"{path} has two of the cases {', '.join(cases)} at one time"
    left_out = tuple(case for case in patients if case not in rows)
    unmatched = tuple(case for case in table if case not in patients)
    return Timelines(tuple(found), unclear, _n_single(groups), left_out, unmatched)


def patients_of(case_ids: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    """Patient of each case: the known patient unless it is named like the case, else by the name.

    >>> patients_of(["p7_week-1", "q_week-1"], {"p7_week-1": "p7_week-1", "q_week-1": "x"})
    {'p7_week-1': 'p7', 'q_week-1': 'x'}
    """
    named = {case: patient for case, patient in known.items() if patient != case}
    return {case: named.get(case) or patient_of(case) for case in case_ids}


def _grouped(patients: Mapping[str, str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for case, patient in patients.items():
        groups.setdefault(patient, []).append(case)
    return groups


def _n_single(groups: Mapping[str, Sequence[str]]) -> int:
    return sum(len(cases) == 1 for cases in groups.values())


def _dates(case: str) -> list[datetime.date]:
    found = map(date_in, DATE.finditer(examination_of(case)))
    return [date for date in found if date]


def _by_date(patient: str, cases: Sequence[str]) -> Timeline | None:
    """Timeline by the one date in the name of each case."""
    dates = {case: _dates(case) for case in cases}
    if any(len(of_case) != 1 for of_case in dates.values()):
        return None
    points = [TimePoint(case, date.toordinal(), str(date)) for case, (date,) in dates.items()]
    return _timeline(patient, points, DAYS, from_first=True)


def _by_number(patient: str, cases: Sequence[str]) -> Timeline | None:
    """Timeline by numbers in names with the same words and without dates."""
    rest = {case: examination_of(case) for case in cases}
    numbers = {case: tuple(map(int, re.findall(r"\d+", text))) for case, text in rest.items()}
    words = {tuple(re.findall(r"[^\W\d_]+", text.casefold())) for text in rest.values()}
    if len(words) > 1 or not all(numbers.values()) or any(map(_dates, cases)):
        return None
    if len(set(numbers.values())) < len(cases):
        return None
    (word,) = words
    is_time = len(word) == 1 and all(len(of_case) == 1 for of_case in numbers.values())
    unit = _UNITS.get(word[0], EXAMINATION) if is_time else EXAMINATION
    order = sorted(cases, key=numbers.__getitem__)
    points = [
        TimePoint(
            case,
            float(number if unit == EXAMINATION else numbers[case][0]),
            rest[case].strip("-_. "),
        )
        for number, case in enumerate(order, start=1)
    ]
    return _timeline(patient, points, unit)


def _timeline(
    patient: str, points: Iterable[TimePoint], unit: str, *, from_first: bool = False
) -> Timeline | None:
    """Timeline of points in any order; None if two are at one place.

    Args:
        patient: Id of the patient.
        points: Two or more points.
        unit: Unit of their places.
        from_first: Whether places count from the first point.
    """
    ordered = sorted(points, key=lambda point: point.place)
    if len({point.place for point in ordered}) < len(ordered):
        return None
    start = ordered[0].place if from_first else 0.0
    shifted = (replace(point, place=point.place - start) for point in ordered)
    return Timeline(patient, tuple(shifted), unit)
