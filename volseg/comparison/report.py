"""Report of a comparison: tables in Markdown, with notes on how to read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from volseg import DISCLAIMER
from volseg.comparison.cost import Cost
from volseg.comparison.notes import notes
from volseg.comparison.ranking import RANK_TEST, RANKING, Ranking
from volseg.comparison.scored_run import ScoredRun
from volseg.comparison.side_by_side import Comparison
from volseg.comparison.statistics import PAIRED_TEST
from volseg.files.writing import atomic_write
from volseg.metrics.scores import Score
from volseg.metrics.slices import SLICE_DEFINITIONS
from volseg.metrics.statistics import INTERVAL

PICTURE = "comparison.png"

_SLICE_KINDS = {"tumour_slices": "tumour slices", "all_slices": "all slices"}
_SHOWN_PATIENTS = 40

Row = tuple[str, ...]


def write_report(comparison: Comparison, path: Path) -> None:
    """Write the report as Markdown, with a link to the picture `comparison.png` beside it.

    Raises:
        OutputError: If the file cannot be written.
    """
    with atomic_write(path) as unfinished:
        unfinished.write_text("\n".join(report_lines(comparison)) + "\n", encoding="utf-8")


def score_columns(comparison: Comparison) -> Row:
    """Column headings of `score_rows`."""
    return ("run", *(score.heading for score in comparison.scores))


def score_rows(comparison: Comparison, region: str, line_break: str = "\n") -> list[Row]:
    """Scores of one region, a row for each run; columns as in `score_columns`.

    Args:
        comparison: Runs to show.
        region: Name of a region of the comparison.
        line_break: Text between mean, interval, median and the mean with missing cases of a cell.
    """
    return [
        (
            run.name,
            *(
                line_break.join(_statistics(comparison, run, region, score))
                for score in comparison.scores
            ),
        )
        for run in comparison.runs
    ]


def run_columns(comparison: Comparison) -> Row:
    """Column headings of `run_rows`."""
    units = " or ".join(dict.fromkeys(cost.unit for cost in comparison.costs.values())) or "window"
    costs = ("parameters (M)", f"multiply-adds a {units} (G)", f"ms a {units}")
    return ("run", "network", "loss", *costs)


def run_rows(comparison: Comparison, line_break: str = "\n") -> list[Row]:
    """Network, loss and cost of each run; columns as in `run_columns`."""
    return [
        (
            *(run.name, run.network or "-", _number(comparison.loss(run), 4)),
            *_cost_cells(comparison.costs.get(run.name), line_break),
        )
        for run in comparison.runs
    ]


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


def report_lines(comparison: Comparison) -> Iterator[str]:
    """Lines of `comparison.md`."""
    yield from ("# Comparison", "")
    yield from (f"- {note}" for note in notes(comparison))
    yield from (f"- Failed: {name}: {reason}" for name, reason in comparison.failures)
    yield from ("", f"![Dice of each patient]({PICTURE})")
    columns = score_columns(comparison)
    for region in comparison.regions:
        yield from _section(region, columns, score_rows(comparison, region, "<br>"))
    yield from _section("Runs", run_columns(comparison), run_rows(comparison, "<br>"))
    yield ""
    yield from (f"- {meaning}" for meaning in _meanings(comparison))
    yield from _pair_section(comparison)
    yield from _ranking_section(comparison.ranking)
    yield from _slice_section(comparison)
    yield from _patient_section(comparison)
    yield from ("", f"*{DISCLAIMER}*")


def _meanings(comparison: Comparison) -> Iterator[str]:
    yield ("Scores of patient volumes: mean over patients, its interval in brackets, and median.")
    yield f"{INTERVAL}."
    yield "loss: mean loss of the validation cases."
    for unit, size in dict.fromkeys((c.unit, c.size) for c in comparison.costs.values()):
        yield f"a {unit} is {size}; multiply-adds count convolutions and matrix products."
    if comparison.costs:
        rounds = next(iter(comparison.costs.values())).rounds
        precisions = " or ".join(dict.fromkeys(c.precision for c in comparison.costs.values()))
        yield (
            f"ms: one image at a time, all networks in turn in one process, median of {rounds} "
            f"rounds with quartiles in brackets; in {precisions}, as in infer on this device; "
            f"{comparison.machine}."
        )


def _pair_section(comparison: Comparison) -> Iterator[str]:
    if not comparison.pairs:
        return
    rows = [
        (
            *(pair.region, f"{pair.first} - {pair.second}", str(pair.n)),
            *(signed(pair.mean_difference), _p(pair.p), _p(pair.p_holm)),
        )
        for pair in comparison.pairs
    ]
    columns = ("region", "runs", "patients", "difference of Dice", "p", "p (Holm)")
    yield from _section("Pairs", columns, rows)
    yield from ("", f"The difference is the mean over patients. p: {PAIRED_TEST}.")


def _ranking_section(ranking: Ranking | None) -> Iterator[str]:
    if ranking is None:
        return
    title = f"Ranking by {ranking.by}"
    yield from _section(title, ranking_columns(ranking), ranking_rows(ranking))
    yield from ("", f"As in BraTS: {RANKING}.", "", f"p: {RANK_TEST}.")


def _slice_section(comparison: Comparison) -> Iterator[str]:
    rows = [
        (
            *(run.name, region, name, str(means["n"])),
            *(score.text(means.get(score.name)) for score in comparison.scores),
        )
        for region in comparison.regions
        for kind, name in _SLICE_KINDS.items()
        for run in comparison.runs
        if (means := comparison.slices(run).get(region, {}).get(kind))
    ]
    if not rows:
        return
    scores = (score.heading for score in comparison.scores)
    columns = ("run", "region", "mean over", "slices", *scores)
    yield from _section("Slices", columns, rows)
    yield from ("", "These are not the scores of the patient volumes above.", "")
    for kind, name in _SLICE_KINDS.items():
        yield f"- {name}: {SLICE_DEFINITIONS[kind]}."


def _patient_section(comparison: Comparison) -> Iterator[str]:
    if len(comparison.patients) > _SHOWN_PATIENTS:
        return
    dice = {
        (region, run.name): comparison.by_patient(run, region, "dice")
        for region in comparison.regions
        for run in comparison.runs
    }
    yield from _section(
        "Dice of each patient",
        ("patient", "region", *(run.name for run in comparison.runs)),
        [
            (patient, region, *(f"{dice[region, r.name][patient]:.3f}" for r in comparison.runs))
            for patient in comparison.patients
            for region in comparison.regions
        ],
    )


def _section(title: str, columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    yield from ("", f"## {title}", "")
    yield _line(columns)
    yield _line(["---"] * len(columns))
    yield from (_line(row) for row in rows)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _statistics(comparison: Comparison, run: ScoredRun, region: str, score: Score) -> Iterator[str]:
    found = comparison.statistics(run, region, score.name)
    yield score.text(found.mean)
    if found.low is not None:
        yield f"[{score.text(found.low)}, {score.text(found.high)}]"
    yield f"median {score.text(found.median)}"
    if comparison.unscored and score.worst is not None:
        yield f"missing as worst {score.text(comparison.mean_of_all(run, region, score))}"


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
