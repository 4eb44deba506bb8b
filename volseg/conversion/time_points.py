"""Table of the time points of converted cases, with the shifted dates of each patient.

All dates of a patient are moved by one random number of days, so intervals hold. The form is that
of `cases.time_table`, which `volseg report --follow-up` reads.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from pathlib import Path

from volseg.cases.identity import patient_of
from volseg.conversion.pseudonym_table import PseudonymTable
from volseg.files.ownership import TIME_POINTS_FILE
from volseg.files.writing import atomic_write

_COLUMNS = ("case", "patient", "date", "shifted")


def write_time_points(folder: Path, table: PseudonymTable, case_ids: Collection[str]) -> Path:
    """Write the shifted dates of cases whose source has a date; returns the path.

    Args:
        folder: Folder of the cases.
        table: Whose they are.
        case_ids: Cases of the folder.

    Raises:
        OutputError: If another program's file has this name, or it cannot be written.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for entry in sorted(table.entries, key=lambda entry: entry.case_id):
        if entry.case_id in case_ids and entry.shifted_date is not None:
            patient = patient_of(entry.case_id)
            rows.writerow((entry.case_id, patient, entry.shifted_date, "yes"))
    path = folder / TIME_POINTS_FILE
    with atomic_write(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
    return path
