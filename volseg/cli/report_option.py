"""Option `--report` of the commands whose results can be reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from volseg.cli.tables import say

WithReport = Annotated[
    bool,
    typer.Option("--report", help="Also write report.html, as volseg report does."),
]


def check_report(folder: Path, *, asked: bool) -> None:
    """Refuse, before any work, a folder whose report.html volseg did not write; OutputError."""
    if asked:
        from volseg.reporting.page_files import check_page
        from volseg.tasks.report import REPORT_FILE

        check_page(folder / REPORT_FILE)


def write_and_name(folder: Path, *, asked: bool) -> Mapping[str, str]:
    """Write the report of a folder if it is asked for; returns the cases that were not drawn."""
    if not asked:
        return {}
    from volseg.tasks.report import report as run_report

    result = run_report(folder)
    for page in result.pages:
        say(f"Report: {page}")
    return result.failures
