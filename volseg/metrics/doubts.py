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

    >>> doubts(ScoreTable((ScoreRow("a", "ET", dice=0, prediction_voxels=0, reference_voxels=9),)))
    ('ET is in no prediction, but in the reference of 1 of 1 cases: nothing of it was found',)
    """
    return tuple(
        sentence
        for region in table.regions
        for sentence in _of_region(
            region, [r for r in table.rows if r.region == region and r.status == "scored"]
        )
    )


def _of_region(region: str, rows: Sequence[ScoreRow]) -> Iterator[str]:
    there = [row for row in rows if row.reference_voxels]
    empty = [row for row in rows if not (row.reference_voxels or row.prediction_voxels)]
    counts_as_one = f"{len(empty)} of {len(rows)} cases without it on both sides count 1"
    if rows and not there:
        yield (
            f"{region} is in no reference of {len(rows)} cases, so that its scores say only in how "
            f"many of them none was predicted: {len(empty)}"
        )
    elif there and not any(row.dice for row in there):
        found = "in no prediction" if not any(r.prediction_voxels for r in rows) else "never met"
        sentence = f"{region} is {found}, but in the reference of {len(there)} of {len(rows)} cases"
        yield f"{sentence}: nothing of it was found" + (f"; {counts_as_one}" if empty else "")
    elif rows and 2 * len(empty) >= len(rows):
        mean = float(np.mean([row.dice for row in there]))
        yield f"{region}: {counts_as_one}; the mean Dice of those that have it is {mean:.3f}"
