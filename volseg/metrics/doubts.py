"""Scores that say less than they seem to: nothing was found, or there was nothing to find."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from volseg.metrics.table import ScoreRow, ScoreTable


def doubts(table: ScoreTable) -> tuple[str, ...]:
    """What a reader has to know before the means of a table, a sentence each.

    By the policy for empty masks a case without a region, in which none was predicted, scores 1:
    a model that finds nothing then has a mean above 0, and one of nothing but such cases a mean
    of 1.

    >>> none_found = {"dice": 0, "prediction_voxels": 0, "reference_voxels": 9}
    >>> doubts(ScoreTable((ScoreRow("a", "ET", none_found),)))
    ('ET is in no prediction, but in the reference of 1 of 1 cases: nothing of it was found',)
    """
    return tuple(
        sentence
        for region in table.regions
        for sentence in _of_region(
            region, [r for r in table.rows if r.region == region and r.status == "scored"]
        )
    )


def _of_none_found(region: str, rows: Sequence[ScoreRow], there: Sequence[ScoreRow]) -> str:
    if not any(row["prediction_voxels"] for row in rows):
        return (
            f"{region} is in no prediction, but in the reference of {len(there)} of {len(rows)} "
            "cases: nothing of it was found"
        )
    beside = any(row["prediction_voxels"] for row in there)
    having = "the case that has" if len(there) == 1 else f"any of the {len(there)} cases that have"
    return (
        f"{region} is predicted only {'elsewhere' if beside else 'in other cases'}: no voxel of it "
        f"agrees with the reference in {having} it"
    )


def _of_region(region: str, rows: Sequence[ScoreRow]) -> Iterator[str]:
    there = [row for row in rows if row["reference_voxels"]]
    empty = [row for row in rows if not (row["reference_voxels"] or row["prediction_voxels"])]
    counts_as_one = f"{len(empty)} of {len(rows)} cases without it on both sides count 1"
    if rows and not there:
        yield (
            f"{region} is in no reference of {len(rows)} cases, so that its scores say only in how "
            f"many of them none was predicted: {len(empty)}"
        )
    elif there and not any(row["dice"] for row in there):
        yield _of_none_found(region, rows, there) + (f"; {counts_as_one}" if empty else "")
    elif rows and 2 * len(empty) >= len(rows):
        mean = float(np.mean([row["dice"] for row in there]))
        yield f"{region}: {counts_as_one}; the mean Dice of those that have it is {mean:.3f}"
