"""Values of scores in tests and rankings, where cases without scores are filled in."""

from __future__ import annotations

import math
from collections.abc import Sequence

from volseg.comparison.scored_run import ScoredRun
from volseg.metrics.scores import Score

#: Definition, for the files that hold tests and rankings.
FILLED = (
    "a missing or failed case has the worst value of the score; a score without a value in a "
    "scored case, but with a value in another run, is the best value if reference and prediction "
    "are empty, otherwise the worst"
)


def filled_value(
    run: ScoredRun, runs: Sequence[ScoredRun], case: str, region: str, score: Score
) -> float | None:
    """Value of a score of a case in a run; see `FILLED`.

    Args:
        run: One of `runs`.
        runs: Runs of a comparison.
        case: Id of a case that all runs have.
        region: Name of a region of the case.
        score: The score.

    Returns:
        The value; None if no run has the score of this case, or it has no worst value.
    """
    if case not in run.cases:
        return score.worst
    values = run.cases[case][region]
    if (value := values[score.name]) is not None:
        return value
    if not any(_has(other, case, region, score) for other in runs):
        return None
    is_empty = values.get("volume_ml") == 0 and values.get("reference_volume_ml") == 0
    return score.best if is_empty else score.worst


def ranked_value(
    run: ScoredRun, runs: Sequence[ScoredRun], case: str, region: str, score: Score
) -> float:
    """The `filled_value` for ranks: NaN, which is last, for a missing or failed case."""
    if case not in run.cases:
        return math.nan
    value = filled_value(run, runs, case, region, score)
    if value is not None:
        return value
    # Runs that all lack the score are equal.
    return math.nan if any(_has(other, case, region, score) for other in runs) else 0.0


def _has(run: ScoredRun, case: str, region: str, score: Score) -> bool:
    return case in run.cases and run.cases[case][region][score.name] is not None
