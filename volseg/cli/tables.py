"""Results as tables and lines on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

from volseg.cli.terminal import console, put, visible, written


def print_table(
    title: str, columns: Iterable[str], rows: Iterable[Sequence[object]], *, lines: bool = False
) -> None:
    """Print a table on stdout; long cells are folded, never cut.

    Args:
        title: Heading.
        columns: Headings of the columns.
        rows: Cells of each row.
        lines: Whether cells have several lines.
    """
    from rich.markup import escape
    from rich.table import Table

    columns = list(columns)
    table = Table(title=title, title_justify="left", title_style="bold", show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = ([str(cell)] if not lines else str(cell).split("\n") for cell in row)
        table.add_row(*("\n".join(escape(visible(line)) for line in cell) for cell in cells))
    with written(sys.stdout):
        console(sys.stdout).print(table)


def print_validation(scores: Mapping[str, float]) -> None:
    """Print scores with names such as `dice/WT` as a table of regions and scores."""
    parts = [name.split("/") for name in scores if "/" in name]
    kinds = list(dict.fromkeys(kind for kind, _ in parts))
    regions = list(dict.fromkeys(region for _, region in parts))
    print_table(
        "Validation",
        ("region", *kinds),
        [(r, *(number(scores.get(f"{kind}/{r}"), 3) for kind in kinds)) for r in regions],
    )


def number(value: float | None, digits: int) -> str:
    """A number for a table; a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def say(line: str) -> None:
    """Print a line on stdout."""
    put(visible(line), sys.stdout)
