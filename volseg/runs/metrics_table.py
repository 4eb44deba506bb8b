"""`metrics.csv` of a run: a row for each epoch, and which of them is the best."""

from __future__ import annotations

from pathlib import Path

from volseg.errors import OutputError
from volseg.files.documents import read_table
from volseg.words import reason


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Rows of a `metrics.csv`, or none if there is no such file.

    Raises:
        OutputError: If it cannot be read, or a cell that is not empty is no number.
    """
    if not path.exists():
        return []
    remedy = "correct it, or move it away"
    rows = read_table(path, OutputError, remedy=remedy)
    for number, row in enumerate(rows, start=2):
        try:
            _ = int(row["epoch"]), [float(cell) for cell in row.values() if cell]
        except (KeyError, ValueError) as error:
            raise OutputError(
                f"row {number} of {path} is not of an epoch ({reason(error)})", remedy=remedy
            ) from None
    return rows
