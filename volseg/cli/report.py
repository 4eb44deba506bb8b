"""Command `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volseg.cli.app import USE, command, fail_if_some_failed
from volseg.cli.tables import say

# As `volseg.tasks.report` has it, which is imported only when the command runs.
_CASES = 20


@command(USE)
def report(
    results: Annotated[
        Path,
        typer.Argument(metavar="RESULTS", help="Folder that evaluate or infer wrote."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="HTML file; further pages lie beside it.",
            show_default="report.html in RESULTS",
        ),
    ] = None,
    cases: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Number of cases with pictures, the worst first."),
    ] = _CASES,
    follow_up: Annotated[
        str | None,
        typer.Option(
            metavar="names|TABLE.csv",
            help="Follow patients over time; time points by the names of cases, or by a table with "
            "the columns case, patient, and date or time.",
        ),
    ] = None,
) -> None:
    """Write a self-contained HTML page of scores or results, with pictures.

    From scores: tables and charts by region, and the worst cases with their
    errors. From results without references: volumes, pictures, notes and
    warnings. Pages load nothing from elsewhere. A case that cannot be drawn is
    listed, and the exit code is 3.

    Examples:
      volseg report scores
      volseg report results -o report.html --cases 100
      volseg report results --follow-up names
    """
    from volseg.tasks.report import report as run_report

    result = run_report(results, output, cases, follow_up)
    for page in result.pages:
        say(f"Report: {page}")
    if result.follow_up:
        say(f"Follow-up: {result.follow_up}")
    for remark in result.remarks:
        say(remark)
    fail_if_some_failed(result.failures)
