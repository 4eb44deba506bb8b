"""Rows of the tables of a comparison, for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from volseg.comparison.cost import Cost
from volseg.comparison.ranking import Ranking
from volseg.comparison.scored_run import ScoredRun
from volseg.comparison.side_by_side import Comparison
from volseg.labels import in_shown_order
from volseg.metrics.scores import Score

_DIGITS_OF_COUNTS = 2

Row = tuple[str, ...]


def score_columns(comparison: Comparison, *, few: bool = False) -> Row:
    """Column headings of `score_rows`."""
    return ("run", *(score.heading for score in _shown(comparison, few)))


def score_rows(
    comparison: Comparison, region: str, line_break: str = "\n", *, few: bool = False
) -> list[Row]:
    """Scores of one region, a row for each run; columns as in `score_columns`.

    Args:
        comparison: Runs to show.
        region: Name of a region of the comparison.
        line_break: Text between mean, interval, median and the mean with missing cases of a cell.
        few: Whether only the scores of the ranking are shown if they are those of a protocol.
    """
    return [
        (
            run.name,
            *(
                line_break.join(_statistics(comparison, run, region, score))
                for score in _shown(comparison, few)
            ),
        )
        for run in comparison.runs
    ]


def _shown(comparison: Comparison, few: bool) -> tuple[Score, ...]:
    return comparison.ranked_scores if few and comparison.protocol else comparison.scores


def run_columns(comparison: Comparison) -> Row:
    """Column headings of `run_rows`."""
    units = " or ".join(dict.fromkeys(cost.unit for cost in comparison.costs.values())) or "window"
    costs = ("parameters (M)", f"multiply-adds a {units} (G)", f"ms a {units}")
    return ("run", "network", "loss", *costs)


def run_rows(comparison: Comparison, line_break: str = "\n") -> list[Row]:
    """Network, loss and cost of each run; columns as in `run_columns`.

    There is no row if nothing is known of any run, as of scores of other tools.
    """
    rows = [
        (
            *(run.name, run.network or "-", _number(comparison.loss(run), 4)),
            *_cost_cells(comparison.costs.get(run.name), line_break),
        )
        for run in comparison.runs
    ]
    return rows if any({*row[1:]} != {"-"} for row in rows) else []


def ranking_columns(ranking: Ranking) -> Row:
    """Column headings of `ranking_rows`."""
    behind = [f"p before {run}" for run in [*ranking.final][1:]]
    return ("place", "run", "final rank", *behind)


def ranking_rows(ranking: Ranking) -> list[Row]:
    """Final rank of each run, and the p-value of being before each run below it."""
    return [
        (
            *(str(ranking.place(run)), run, f"{rank:.3f}"),
            *(_p_or_nothing(ranking.p(run, other)) for other in [*ranking.final][1:]),
        )
        for run, rank in ranking.final.items()
    ]


def pair_columns(comparison: Comparison) -> Row:
    """Column headings of `pair_rows`."""
    if comparison.protocol is None:
        return ("region", "runs", "difference of Dice", "p", "p (Holm)", "patients")
    return ("region", "score", "runs", "difference", "better", "p", "p (Holm)", "patients")


def pair_rows(comparison: Comparison) -> list[Row]:
    """Tests of pairs on the scores of the ranking; columns as in `pair_columns`."""
    titles = {score.name: score.heading for score in comparison.ranked_scores}
    is_official = comparison.protocol is not None
    order = in_shown_order(comparison.regions)
    return [
        (
            pair.region,
            *((titles[pair.score],) if is_official else ()),
            *(f"{pair.first} - {pair.second}", signed(pair.mean_difference)),
            *((comparison.better(pair) or "-",) if is_official else ()),
            *(_p(pair.p), _p(pair.p_holm), str(pair.n)),
        )
        for pair in sorted(comparison.pairs, key=lambda pair: order.index(pair.region))
        if pair.score in titles
    ]


def _statistics(comparison: Comparison, run: ScoredRun, region: str, score: Score) -> Iterator[str]:
    found = comparison.statistics(run, region, score.name)
    # Means of whole numbers, such as numbers of lesions, are no whole numbers.
    digits = score.digits or _DIGITS_OF_COUNTS
    yield _number(found.mean, digits)
    if found.low is not None:
        yield f"[{_number(found.low, digits)}, {_number(found.high, digits)}]"
    yield f"median {_number(found.median, digits)}"
    if comparison.unscored and score.worst is not None:
        yield f"missing as worst {_number(comparison.mean_of_all(run, region, score), digits)}"


def _cost_cells(cost: Cost | None, line_break: str) -> Row:
    if cost is None:
        return ("-", "-", "-")
    low, high = (_digits(value) for value in cost.quartiles)
    return (
        _digits(cost.parameters / 1e6),
        _digits(cost.multiply_adds / 1e9),
        f"{_digits(cost.milliseconds)}{line_break}[{low}, {high}]",
    )


def signed(value: float) -> str:
    """A difference of scores with its sign, to three decimals.

    >>> signed(0.25), signed(-1e-9)
    ('+0.250', '+0.000')
    """
    return f"{round(value, 3) + 0.0:+.3f}"


def _digits(value: float) -> str:
    """A number with three significant digits, without exponent: 0.00123, 12.3, 1234."""
    if value >= 100:
        return f"{value:.0f}"
    return np.format_float_positional(value, 3, unique=False, fractional=False, trim="k")


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _p_or_nothing(value: float | None) -> str:
    return "" if value is None else _p(value)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3g}"
