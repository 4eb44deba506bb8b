"""Command `check`."""

from __future__ import annotations

import typer

from volseg.cli.app import EXIT_USER_ERROR, PREPARE, command, complain
from volseg.cli.next_steps import line, next_steps
from volseg.cli.options import Config, Overrides
from volseg.cli.tables import print_table, say

_PROBLEMS_SHOWN = 20


@command(PREPARE)
def check(config: Config, overrides: Overrides = None) -> None:
    """Try an experiment before its training waits in a queue.

    Reads the config, the header of every scan, some label maps and one batch,
    trains a few steps, and reports shapes, memory, time and all problems.
    Cases with the same problem are counted in one line.

    Example:
      volseg check configs/brats_unet.yaml data.data_root=FOLDER
    """
    from volseg.tasks.check import check as run_check

    result = run_check(config, overrides or [])
    print_table("Check", ("", ""), result.facts)
    for problem in result.problems[:_PROBLEMS_SHOWN]:
        complain(problem)
    if len(result.problems) > _PROBLEMS_SHOWN:
        complain(f"and {len(result.problems) - _PROBLEMS_SHOWN} more problems")
    if result.problems:
        raise typer.Exit(EXIT_USER_ERROR)
    for warning in result.warnings:
        say(f"Warning: {warning}")
    say("Nothing stops this training." if result.warnings else "No problem was found.")
    next_steps({"train": [line("volseg", "fit", config, *(overrides or []))]})
