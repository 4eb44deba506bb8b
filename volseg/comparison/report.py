"""Report of a comparison: tables in Markdown, with notes on how to read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from volseg import DISCLAIMER
from volseg.comparison.cost import Cost
from volseg.comparison.side_by_side import Comparison
from volseg.comparison.statistics import PAIRED_TEST, Statistics, smallest_p
from volseg.files.writing import atomic_write
from volseg.metrics.scores import Score
from volseg.metrics.slices import SLICE_DEFINITIONS
from volseg.metrics.statistics import INTERVAL

PICTURE = "comparison.png"

_SLICE_KINDS = {"tumour_slices": "tumour slices", "all_slices": "all slices"}
_FEW_PATIENTS = 6
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
        line_break: Text between mean, interval and median of a cell.
    """
    return [
        (
            run.name,
            *(
                _with_interval(comparison.statistics(run, region, score.name), score, line_break)
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


def notes(comparison: Comparison) -> Iterator[str]:
    """Notes for the reader of the tables."""
    patients = counted(len(comparison.patients), "patient")
    cases = counted(len(comparison.cases), "case")
    yield f"{patients} ({cases}), the same for every run."
    if len(comparison.patients) < _FEW_PATIENTS and comparison.pairs:
        yield f"{patients}: p cannot fall below {smallest_p(len(comparison.patients)):g}."
    for reason, names in _by_reason(comparison.left_out).items():
        yield f"Left out: {', '.join(names)} ({reason})."
    if others := comparison.other_references:
        more = f" and {len(others) - 1} more" if others[1:] else ""
        yield (
            f"The runs were scored against different references of {others[0]}{more}, as their "
            "numbers of voxels differ: the scores are not comparable."
        )
    for run in comparison.runs:
        if not run.ended:
            yield f"The training of {run.name} has not ended; its scores are preliminary."
        yield from (f"{run.name}: {doubt}." for doubt in run.doubts)
        if extra := [region for region in run.regions if region not in comparison.regions]:
            yield f"Not compared: {' '.join(extra)} of {run.name}, missing in another run."
        compared = {score.name for score in comparison.scores}
        if further := [name for name in run.scores if name not in compared]:
            yield f"Not compared: {' '.join(further)} of {run.name}, missing in another run."
    for patient, channels in comparison.missing_channels.items():
        yield f"Without {', '.join(channels)}: {patient}; another channel stands in."
    if not comparison.same_loss:
        yield "The runs were trained with different losses, whose values are not comparable."


def _by_reason(left_out: Mapping[str, str]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        names.setdefault(reason, []).append(name)
    return names


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


def _with_interval(found: Statistics, score: Score, line_break: str) -> str:
    mean, median, low, high = map(score.text, (found.mean, found.median, found.low, found.high))
    interval = "" if found.low is None else f"{line_break}[{low}, {high}]"
    return f"{mean}{interval}{line_break}median {median}"


def _cost_cells(cost: Cost | None, line_break: str) -> Row:
    if cost is None:
        return ("-", "-", "-")
    low, high = (_digits(value) for value in cost.quartiles)
    return (
        _digits(cost.parameters / 1e6),
        _digits(cost.multiply_adds / 1e9),
        f"{_digits(cost.milliseconds)}{line_break}[{low}, {high}]",
    )


def counted(number: int, noun: str) -> str:
    """A number with its noun, in singular or plural.

    >>> counted(1, "patient"), counted(5, "patient")
    ('1 patient', '5 patients')
    """
    return f"{number} {noun}{'s' * (number != 1)}"


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


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3g}"
