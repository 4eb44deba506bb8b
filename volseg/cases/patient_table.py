"""Tables of patients, whose columns become groups of cases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.cases.case import Case
from volseg.cases.joined_patients import join_patients
from volseg.errors import DataListError
from volseg.files.documents import read_rows

#: Name of the table that comes with the LGG slices.
FILE_NAME = "data.csv"
_PATIENT_COLUMNS = ("patient", "patient_id", "case_id")
# Genomic subtypes of the TCGA, by the data they were derived from, and the grade.
_TCGA_COLUMNS = (
    "RNASeqCluster",
    "MethylationCluster",
    "miRNACluster",
    "CNCluster",
    "RPPACluster",
    "OncosignCluster",
    "COCCluster",
    "neoplasm_histologic_grade",
)
# Only columns with this number of different values group patients; others name or measure them.
_FEWEST, _MOST = 2, 10
_SHOWN = 3


@dataclass(frozen=True)
class PatientTable:
    """A table of groups of patients.

    Attributes:
        path: File of the table.
        columns: Columns that are kept.
        rows: Values of these columns by patient; an empty cell has no entry.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, str]]


def read_patient_table(path: Path, columns: Sequence[str] | None = None) -> PatientTable:
    """Read a table with a row for each patient.

    Args:
        path: CSV file with a header; cells are separated by commas, semicolons or tabs. Patients
            are in the column `patient`, `patient_id` or `case_id`, else in the first column.
        columns: Columns to keep; None: genomic clusters and grade of the table of the TCGA; of
            other tables, columns with 2 to 10 different values.

    Raises:
        DataListError: If the table cannot be read, lacks a column, or has two rows of a patient.
    """
    header, lines = _read(path)
    known = [name for name in header if name.casefold() in _PATIENT_COLUMNS]
    patient = known[0] if known else header[0]
    rows: dict[str, dict[str, str]] = {}
    for line in lines:
        cells = {name: cell.strip() for name, cell in zip(header, line, strict=False)}
        name = cells.pop(patient, "")
        if name in rows:
            raise DataListError(f"table {path} has two rows of patient {name}", remedy="keep one")
        if name:
            rows[name] = {column: cell for column, cell in cells.items() if cell}
    others = [name for name in header if name != patient]
    kept = _columns(path, others, rows) if columns is None else tuple(columns)
    if missing := [name for name in kept if name not in others]:
        raise DataListError(
            f"table {path} has no column {', '.join(missing)}",
            remedy=f"choose from {', '.join(others)}",
        )
    values = {
        patient: {column: row[column] for column in kept if column in row}
        for patient, row in rows.items()
    }
    return PatientTable(path, kept, values)


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    lines = read_rows(path, DataListError, f"table {path}", "give a CSV file in UTF-8", ",;\t")
    if len(lines) < 2 or len(lines[0]) < 2:
        raise DataListError(
            f"table {path} holds no table",
            remedy="give a CSV file with a header and a row for each patient",
        )
    return [name.strip() for name in lines[0]], lines[1:]


def _columns(
    path: Path, header: Sequence[str], rows: Mapping[str, Mapping[str, str]]
) -> tuple[str, ...]:
    """Columns that group patients."""
    if set(_TCGA_COLUMNS) <= set(header):
        return _TCGA_COLUMNS
    values = {name: {row[name] for row in rows.values() if name in row} for name in header}
    kept = tuple(name for name, found in values.items() if _FEWEST <= len(found) <= _MOST)
    if not kept:
        raise DataListError(
            f"table {path} has no column with {_FEWEST} to {_MOST} different values",
            remedy=f"name columns with --group-columns, of {', '.join(header)}",
        )
    return kept


def add_groups(cases: Iterable[Case], table: PatientTable) -> tuple[tuple[Case, ...], str]:
    """Add the rows of a table to `groups` of cases; returns the cases and a summary sentence.

    A row belongs to a case if its name is that of the patient, or the beginning of the case id up
    to one of `_-.`, in any letter case; the longest such name counts. Cases of one row are of one
    patient.

    Raises:
        DataListError: If no row belongs to any case.
    """
    cases = tuple(cases)
    names = {name.casefold(): name for name in table.rows}
    row_of = {case.case_id: _row(case, names) for case in cases}
    used = {row for row in row_of.values() if row is not None}
    if not used:
        raise DataListError(
            f"no row of {table.path} is of a patient here: it has {_some(table.rows)}, the "
            f"patients are {_some(sorted({case.patient_id for case in cases}))}",
            remedy="name patients in the table as in the data",
        )
    cases, _ = join_patients(
        cases, {name: {row} for name, row in row_of.items() if row is not None}
    )
    grouped = tuple(
        case if row is None else replace(case, groups={**case.groups, **table.rows[row]})
        for case, row in zip(cases, row_of.values(), strict=True)
    )
    patients = {case.patient_id for case in cases}
    without = sorted({case.patient_id for case in cases if row_of[case.case_id] is None})
    named = f" ({_some(without)})" if without else ""
    sentence = (
        f"{table.path}: {', '.join(table.columns)} of {len(patients) - len(without)} patients; "
        f"patients without a row: {len(without)}{named}; "
        f"rows without a patient: {len(table.rows) - len(used)}"
    )
    return grouped, sentence


def _row(case: Case, names: Mapping[str, str]) -> str | None:
    """Name of the row of a case, or None; `names` maps lower-case names to names."""
    beginnings = (case.case_id[: border.start()] for border in re.finditer("[-_.]", case.case_id))
    known = [name.casefold() for name in (case.patient_id, case.case_id, *beginnings)]
    fitting = [names[name] for name in known if name in names]
    return max(fitting, key=len, default=None)


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def table_beside(cases: Iterable[Case], folders: Iterable[Path]) -> Path | None:
    """A table of patients in a searched folder, or beside the folders of cases, or None."""
    places = dict.fromkeys([*folders, *(case.images[0].parent.parent for case in cases)])
    return next((path for folder in places if (path := folder / FILE_NAME).is_file()), None)
