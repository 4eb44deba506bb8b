"""Table of the time points of cases, as users write it."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.errors import DataListError
from volseg.files.documents import read_rows

#: A date in a name or a cell: 2024-03-01, 2024.03.01 or 20240301.
DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?([01]\d)[-_.]?([0-3]\d)(?!\d)")

_CASE, _PATIENT, _DATE, _TIME = ("case", "case_id"), ("patient", "patient_id"), ("date",), ("time",)
# Up to this time, differences of whole numbers are exact.
_MOST_TIME = 1e15
_REMEDY = "give a CSV file with the columns case, patient, and date or time"


@dataclass(frozen=True)
class TimeRow:
    """Time point of a case.

    Attributes:
        patient_id: Id of the patient; empty if the table does not have it.
        place: Day of a date, or the time.
        label: Date or time as text.
        is_date: Whether the place is that of a date.
    """

    patient_id: str
    place: float
    label: str
    is_date: bool


def read_time_table(path: Path) -> dict[str, TimeRow]:
    """Time point by case id.

    Args:
        path: CSV file with a header; cells are separated by commas, semicolons or tabs. The columns
            are `case`, `patient` (may be absent), and `date` (2024-03-01 or 20240301) or `time` (a
            number in any unit, the same for all rows).

    Raises:
        DataListError: If the table cannot be read, lacks a column, has no case or one twice, or
            has no date or time of a case.
    """
    lines = read_rows(path, DataListError, f"table {path}", _REMEDY, ",;\t")
    header = [name.strip().casefold() for name in lines[0]] if lines else []
    case, patient = _column(header, _CASE), _column(header, _PATIENT)
    date, time = _column(header, _DATE), _column(header, _TIME)
    if case is None or (date is None) == (time is None):
        raise DataListError(
            f"table {path} has the columns {', '.join(header) or 'none'}, expected case, and date "
            "or time",
            remedy=_REMEDY,
            path=path,
        )
    rows: dict[str, TimeRow] = {}
    for line in lines[1:]:
        cells = [cell.strip() for cell in line] + [""] * (len(header) - len(line))
        name = cells[case]
        if not name:
            continue
        if name in rows:
            raise DataListError(f"table {path} has two rows of case {name}", remedy="keep one")
        of_patient = "" if patient is None else cells[patient]
        rows[name] = (
            _at_date(path, name, of_patient, cells[date])
            if date is not None
            else _at_time(path, name, of_patient, cells[time or 0])
        )
    if not rows:
        raise DataListError(f"table {path} names no case", remedy=_REMEDY, path=path)
    return rows


def date_in(match: re.Match[str]) -> datetime.date | None:
    """The date of a match of `DATE`; None if there is no such day."""
    try:
        return datetime.date(*map(int, match.groups()))
    except ValueError:
        return None


def _column(header: Sequence[str], names: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _at_date(path: Path, case: str, patient: str, text: str) -> TimeRow:
    match = DATE.fullmatch(text)
    date = date_in(match) if match else None
    if date is None:
        raise DataListError(
            f"table {path}: case {case} has the date {text!r}, expected a date such as 2024-03-01",
            remedy="correct it",
        )
    return TimeRow(patient, date.toordinal(), str(date), is_date=True)


def _at_time(path: Path, case: str, patient: str, text: str) -> TimeRow:
    try:
        time = float(text)
    except ValueError:
        time = math.nan
    if not abs(time) <= _MOST_TIME:
        limits = "" if math.isnan(time) else f" from {-_MOST_TIME:g} to {_MOST_TIME:g}"
        raise DataListError(
            f"table {path}: case {case} has the time {text!r}, expected a number{limits}",
            remedy="correct it",
        )
    return TimeRow(patient, time, text, is_date=False)
