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


def write_time_points(
    folder: Path, table: PseudonymTable, case_ids: Collection[str]
) -> Path | None:
    """Write the shifted dates of cases whose source has a date; returns the path.

    Without any date there is nothing to write, and None is returned; the rows of an earlier
    conversion are removed then.

    Args:
        folder: Folder of the cases.
        table: Whose they are.
        case_ids: Cases of the folder.

    Raises:
        OutputError: If another program's file has this name, or it cannot be written.
    """
    dated = [
        (entry.case_id, patient_of(entry.case_id), entry.shifted_date, "yes")
        for entry in sorted(table.entries, key=lambda entry: entry.case_id)
        if entry.case_id in case_ids and entry.shifted_date is not None
    ]
    path = folder / TIME_POINTS_FILE
    if not dated and not path.exists():
        return None
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([_COLUMNS, *dated])
    with atomic_write(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
    return path if dated else None
