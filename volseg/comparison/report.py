"""Report of a comparison: tables in Markdown, with notes on how to read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from volseg import DISCLAIMER
from volseg.comparison.filled import FILLED
from volseg.comparison.notes import notes
from volseg.comparison.ranking import RANK_TEST, RANKING, Ranking
from volseg.comparison.rows import (
    Row,
    pair_columns,
    pair_rows,
    ranking_columns,
    ranking_rows,
    run_columns,
    run_rows,
    score_columns,
    score_rows,
)
from volseg.comparison.side_by_side import Comparison
from volseg.comparison.statistics import PAIRED_TEST
from volseg.files.writing import atomic_write
from volseg.labels import in_shown_order
from volseg.metrics.slices import SLICE_DEFINITIONS
from volseg.metrics.statistics import INTERVAL

PICTURE = "comparison.png"

_SLICE_KINDS = {"tumour_slices": "tumour slices", "all_slices": "all slices"}
_SHOWN_PATIENTS = 40


def write_report(comparison: Comparison, path: Path) -> None:
    """Write the report as Markdown, with a link to the picture `comparison.png` beside it.

    Raises:
        OutputError: If the file cannot be written.
    """
    with atomic_write(path) as unfinished:
        unfinished.write_text("\n".join(report_lines(comparison)) + "\n", encoding="utf-8")


def report_lines(comparison: Comparison) -> Iterator[str]:
    """Lines of `comparison.md`."""
    yield from ("# Comparison", "")
    yield from (f"- {note}" for note in notes(comparison))
    yield from (f"- Failed: {name}: {reason}" for name, reason in comparison.failures)
    yield from ("", f"![{comparison.scores[0].title} of each patient]({PICTURE})")
    for region in in_shown_order(comparison.regions):
        yield from _score_section(comparison, region)
    if rows := run_rows(comparison, "<br>"):
        yield from _section("Runs", run_columns(comparison), rows)
    yield ""
    yield from (f"- {meaning}" for meaning in _meanings(comparison))
    yield from _pair_section(comparison)
    yield from _ranking_section(comparison.ranking)
    yield from _slice_section(comparison)
    yield from _patient_section(comparison)
    yield from ("", f"*{DISCLAIMER}*")


def _score_section(comparison: Comparison, region: str) -> Iterator[str]:
    """Table of the scores of a region; the many scores of a protocol are its rows."""
    columns, rows = score_columns(comparison), score_rows(comparison, region, "<br>")
    if comparison.protocol is None:
        yield from _section(region, columns, rows)
    else:
        first, *others = zip(columns, *rows, strict=True)
        yield from _section(region, ("score", *first[1:]), others)


def _meanings(comparison: Comparison) -> Iterator[str]:
    yield ("Scores of patient volumes: mean over patients, its interval in brackets, and median.")
    yield f"{INTERVAL}."
    if comparison.protocol:
        yield from (f"{s.heading}: {s.definition}." for s in comparison.scores)
    if any(comparison.loss(run) is not None for run in comparison.runs):
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
    yield from _section("Pairs", pair_columns(comparison), pair_rows(comparison))
    yield from ("", f"The difference is the mean over patients. p: {PAIRED_TEST}.")
    if comparison.protocol or comparison.unscored:
        yield from ("", f"In pairs and ranking {FILLED}. The pairs of all scores: pairs.csv.")


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
    score = comparison.scores[0]
    values = {
        (region, run.name): comparison.by_patient(run, region, score.name)
        for region in comparison.regions
        for run in comparison.runs
    }
    yield from _section(
        f"{score.title} of each patient",
        ("patient", "region", *(run.name for run in comparison.runs)),
        [
            (
                *(patient, region),
                *(score.text(values[region, run.name].get(patient)) for run in comparison.runs),
            )
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
