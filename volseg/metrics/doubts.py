"""Means that mislead: of regions that no prediction found, or that no reference holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from volseg.metrics.table import ScoreRow, ScoreTable


def doubts(table: ScoreTable) -> tuple[str, ...]:
    """Sentences on the means of a table that mislead, at most one for each region.

    A region that is empty in both masks of a case scores 1, by the policy for empty masks. The mean
    of a model that finds nothing can so be above 0, and is 1 if no reference holds the region.

    >>> none_found = {"dice": 0, "prediction_voxels": 0, "reference_voxels": 9}
    >>> doubts(ScoreTable((ScoreRow("a", "ET", none_found),)))
    ('ET is in no prediction, but in the reference of 1 of 1 cases',)
    """
    return tuple(
        sentence
        for region in table.regions
        for sentence in _sentences(
            region, [r for r in table.rows if r.region == region and r.status == "scored"]
        )
    )


def empty_pairs_in_words(region: str, n_empty: int, n_cases: int) -> str:
    """Clause on the cases that count as 1, as the region is in neither mask."""
    return (
        f"{n_empty} of {n_cases} cases have no {region} in reference and prediction and count as 1"
    )


def _none_found(region: str, rows: Sequence[ScoreRow], with_region: Sequence[ScoreRow]) -> str:
    n = len(with_region)
    if not any(row["prediction_voxels"] for row in rows):
        return f"{region} is in no prediction, but in the reference of {n} of {len(rows)} cases"
    same_cases = any(row["prediction_voxels"] for row in with_region)
    where = "in other places" if same_cases else f"in cases without {region}"
    of_cases = "the case" if n == 1 else f"any of the {n} cases"
    return (
        f"{region} is predicted only {where}; no voxel agrees with the reference of {of_cases} "
        f"with {region}"
    )


def _sentences(region: str, rows: Sequence[ScoreRow]) -> Iterator[str]:
    with_region = [row for row in rows if row["reference_voxels"]]
    empty = [row for row in rows if not (row["reference_voxels"] or row["prediction_voxels"])]
    count_as_one = empty_pairs_in_words(region, len(empty), len(rows))
    if rows and not with_region:
        yield (
            f"{region} is in no reference of {len(rows)} cases; its scores only count the cases "
            f"without predicted {region}: {len(empty)}"
        )
    elif with_region and not any(row["dice"] for row in with_region):
        yield _none_found(region, rows, with_region) + (f"; {count_as_one}" if empty else "")
    elif rows and 2 * len(empty) >= len(rows):
        mean = float(np.mean([row["dice"] for row in with_region]))
        yield f"{count_as_one}; the mean Dice of the cases with {region} is {mean:.3f}"
