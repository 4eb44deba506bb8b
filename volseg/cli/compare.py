"""Command `compare`, and the tables of its runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg import signals
from volseg.cli.app import TRAIN, command, fail_if_some_failed
from volseg.cli.next_steps import RUN, SCANS, line, next_steps
from volseg.cli.tables import print_table, say
from volseg.files.writing import COMPARISON_FILE

if TYPE_CHECKING:
    from volseg.tasks.compare import CompareResult


@command(TRAIN)
def compare(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|CONFIG...",
            help="Run folders, NAME=RUN,RUN,... for folds, configs to train first, and key=value "
            "for the configs.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for the tables and the picture.")
    ],
    protocol: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Official protocol whose scores are compared, such as brats2023-gli; evaluate "
            "--protocol writes them. volseg: our own scores.",
        ),
    ] = "volseg",
) -> None:
    """Compare networks on the same patients: scores, tests, size and speed.

    A config is trained first, into OUTPUT/runs/NAME. The same command again
    keeps finished trainings and resumes stopped ones. If a training fails, it
    is listed, the next one starts, and the exit code is 3. Folders that volseg
    evaluate wrote can be compared like runs.

    The folds of a cross-validation are compared as one run, in which each
    patient is scored once: give the folder that fit --folds wrote, or
    NAME=RUN,RUN,...

    The runs are also ranked as in BraTS. A missing or failed prediction is
    last in its case, and counts as the worst score in the tests of pairs.
    --protocol compares by the scores of an official BraTS program.

    Examples:
      volseg compare runs/unet runs/segresnet -o comparison
      volseg compare configs/brats_*.yaml data.data_root=FOLDER -o comparison
      volseg compare runs/unet_folds theirs=t0,t1,t2 -o comparison
      volseg compare scores_a scores_b --protocol brats2023-gli -o comparison
    """
    from volseg.comparison.sources import read_words
    from volseg.tasks.compare import compare as run_compare

    signals.record_interrupts()
    given, overrides = read_words(sources)
    result = run_compare(given, output, overrides, protocol)
    print_comparison(result)
    fail_if_some_failed(result.failures, "run")
    if not any(run.model for run in result.comparison.runs):
        return
    segment = line("volseg", "infer", SCANS, "-m", RUN, "-o", "results")
    next_steps({"segment scans with the best run": [segment]})


def print_comparison(result: CompareResult) -> None:
    """Print the scores of each region, the runs, pairs, ranking and notes."""
    from volseg.comparison.notes import notes
    from volseg.comparison.rows import (
        pair_columns,
        pair_rows,
        ranking_columns,
        ranking_rows,
        run_columns,
        run_rows,
        score_columns,
        score_rows,
    )
    from volseg.labels import in_shown_order

    comparison = result.comparison
    for region in in_shown_order(comparison.regions):
        rows = score_rows(comparison, region, few=True)
        print_table(region, score_columns(comparison, few=True), rows, lines=True)
    if known := run_rows(comparison):
        print_table("Runs", run_columns(comparison), known, lines=True)
    if comparison.pairs:
        print_table("Pairs", pair_columns(comparison), pair_rows(comparison))
    if ranking := comparison.ranking:
        print_table("Ranking", ranking_columns(ranking), ranking_rows(ranking))
        say(f"Ranking by {ranking.by}.")
    for note in notes(comparison):
        say(note)
    say(f"Comparison: {result.output / COMPARISON_FILE}")
