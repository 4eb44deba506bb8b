"""Command `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volseg.cli.app import START, command
from volseg.cli.next_steps import FOLDER, line, next_steps
from volseg.cli.tables import number, print_table, say


@command(START)
def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for scans, run, results and picture.")
    ] = Path("demo"),
) -> None:
    """Run all steps on synthetic scans, in minutes, without a GPU.

    Makes phantoms in BraTS layout, splits, trains, segments and scores them,
    writes a report to open in a browser, and prints the command of each step,
    which works on real scans too.

    Example:
      volseg demo -o demo
    """
    from volseg.tasks.demo import demo as run_demo

    result = run_demo(output, on_step=say)
    print_table("Mean Dice", result.dice, [[number(dice, 3) for dice in result.dice.values()]])
    say(f"Picture: {result.picture}")
    say(f"Report: {result.report}")
    of_your_own = line("volseg", "split", FOLDER, "-o", "list.json")
    next_steps({"begin with your own scans": [of_your_own]})
