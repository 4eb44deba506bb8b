"""Results as tables and lines on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

from volseg.cli.terminal import console, put, visible, written

# Columns of names that are kept on one line, so that they can be copied, unless they are very long.
_NAMES = {"case", "cases"}


def print_table(
    title: str, columns: Iterable[str], rows: Iterable[Sequence[object]], *, lines: bool = False
) -> None:
    """Print a table on stdout; long cells are folded, never cut, and names of cases stay whole.

    Args:
        title: Heading.
        columns: Headings of the columns.
        rows: Cells of each row.
        lines: Whether cells have several lines.
    """
    from rich.markup import escape
    from rich.table import Table

    columns, rows, out = list(columns), list(rows), console(sys.stdout)
    table = Table(title=title, title_justify="left", title_style="bold", show_header=any(columns))
    for number, column in enumerate(columns):
        longest = max((len(visible(str(row[number]))) for row in rows), default=0)
        is_whole = column in _NAMES and longest <= out.width // 2
        table.add_column(column, overflow="fold", no_wrap=is_whole)
    for row in rows:
        cells = ([str(cell)] if not lines else str(cell).split("\n") for cell in row)
        table.add_row(*("\n".join(escape(visible(line)) for line in cell) for cell in cells))
    with written(sys.stdout):
        out.print(table)


def print_listing(
    title: str,
    blocks: Iterable[tuple[str, Sequence[tuple[str, Sequence[str]]]]],
    width_in_files: int | None = None,
) -> None:
    """Print blocks on stdout: a heading, and below it rows of a name with lines of text beside it.

    Long lines are folded beside the name, which a table of many columns could not do in a narrow
    terminal.

    Args:
        title: Heading of all.
        blocks: Heading of each block, or "" for none, and its rows.
        width_in_files: Width at which lines are folded if stdout is no terminal; None: never.
    """
    from rich.markup import escape
    from rich.table import Table

    out, blocks = console(sys.stdout, width_in_files), list(blocks)
    width = max((len(visible(name)) for _, rows in blocks for name, _ in rows), default=0)
    with written(sys.stdout):
        out.print(f"[bold]{escape(visible(title))}[/bold]")
    for heading, rows in blocks:
        if heading:
            say(heading)
        table = Table(box=None, show_header=False, padding=(0, 0, 0, 2))
        table.add_column(min_width=width, no_wrap=True)
        table.add_column(overflow="fold")
        for name, lines in rows:
            table.add_row(escape(visible(name)), "\n".join(escape(visible(x)) for x in lines))
        with written(sys.stdout):
            out.print(table)


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
