"""Command `compare`, and the tables of its runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg import signals
from volseg.cli.app import TRAIN, command, fail_if_some_failed
from volseg.cli.next_steps import RUN, SCANS, line, next_steps
from volseg.cli.tables import number, print_table, say
from volseg.files.writing import COMPARISON_FILE

if TYPE_CHECKING:
    from volseg.tasks.compare import CompareResult


@command(TRAIN)
def compare(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|CONFIG...",
            help="Run folders, configs to train first, and key=value for the configs.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for the tables and the picture.")
    ],
) -> None:
    """Compare networks on the same patients: scores, tests, size and speed.

    A config is trained first, into OUTPUT/runs/NAME. The same command again
    keeps finished trainings and resumes stopped ones. If a training fails, it
    is listed, the next one starts, and the exit code is 3. Folders that volseg
    evaluate wrote can be compared like runs.

    Examples:
      volseg compare runs/unet runs/segresnet -o comparison
      volseg compare configs/brats_*.yaml data.data_root=FOLDER -o comparison
    """
    from volseg.tasks.compare import compare as run_compare

    signals.record_interrupts()
    overrides = [word for word in sources if "=" in word and not Path(word).exists()]
    paths = [Path(word) for word in sources if word not in overrides]
    result = run_compare(paths, output, overrides)
    print_comparison(result)
    fail_if_some_failed(result.failures, "run")
    segment = line("volseg", "infer", SCANS, "-m", RUN, "-o", "results")
    next_steps({"segment scans with the best run": [segment]})


def print_comparison(result: CompareResult) -> None:
    """Print the scores of each region, the runs, the p-values of pairs, and the notes."""
    from volseg.comparison.report import (
        notes,
        run_columns,
        run_rows,
        score_columns,
        score_rows,
        signed,
    )

    comparison = result.comparison
    for region in comparison.regions:
        rows = score_rows(comparison, region)
        print_table(region, score_columns(comparison), rows, lines=True)
    print_table("Runs", run_columns(comparison), run_rows(comparison), lines=True)
    if comparison.pairs:
        print_table(
            "Pairs",
            ("region", "runs", "difference of Dice", "p", "p (Holm)"),
            [
                (
                    *(pair.region, f"{pair.first} - {pair.second}"),
                    *(signed(pair.mean_difference), number(pair.p, 4), number(pair.p_holm, 4)),
                )
                for pair in comparison.pairs
            ],
        )
    for note in notes(comparison):
        say(note)
    say(f"Comparison: {result.output / COMPARISON_FILE}")
