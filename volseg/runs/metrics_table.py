"""`metrics.csv` of a run: a row for each epoch, and the choice of the best epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from volseg.errors import OutputError
from volseg.files.documents import read_table
from volseg.words import reason

#: Name of the score that chooses the best epoch.
BEST_SCORE = "val/dice/mean"
#: Name of the loss; among epochs with equal scores, the lowest loss is best.
LOSS = "val/loss"


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Rows of a `metrics.csv`; no rows if the file does not exist.

    Raises:
        OutputError: If the file cannot be read, or a non-empty cell is no number.
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
                f"row {number} of {path} does not describe an epoch ({reason(error)})",
                remedy=remedy,
            ) from None
    return rows


def standing(dice: float, loss: float) -> tuple[float, float]:
    """Sort key of the models of a run: higher mean Dice first, then lower loss.

    Both are rounded as in `metrics.csv`, so that the table shows why a model was kept.

    >>> standing(0.0, 0.7) > standing(0.0, 0.9)
    True
    """
    dice, loss = float(number_in_table(dice)), float(number_in_table(loss))
    return dice if math.isfinite(dice) else -1.0, -loss if math.isfinite(loss) else -math.inf


def best_row(rows: Sequence[dict[str, str]]) -> dict[str, str] | None:
    """Row of the epoch whose model was kept: the first row with the highest `standing`."""
    validated = [row for row in rows if row.get(BEST_SCORE)]
    return max(
        validated,
        key=lambda row: standing(float(row[BEST_SCORE]), float(row.get(LOSS) or math.inf)),
        default=None,
    )


def kept_epoch(rows: Sequence[dict[str, str]]) -> int | None:
    """Epoch of the kept model, counted from 1: the best, or the last without any validation."""
    kept = best_row(rows) or (rows[-1] if rows else None)
    return None if kept is None else int(kept["epoch"])


def best_scores(rows: Sequence[dict[str, str]]) -> dict[str, float]:
    """Scores of the validated epoch with the highest mean Dice, without the prefix `val/`."""
    best = best_row(rows) or {}
    return {
        name.removeprefix("val/"): float(value)
        for name, value in best.items()
        if name.startswith("val/") and value
    }


def number_in_table(number: float) -> str:
    """A number as written in the table."""
    return f"{number:.6g}"
