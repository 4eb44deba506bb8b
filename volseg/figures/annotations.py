"""Heading, disclaimer and legend around the panels of a picture of cases."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from volseg import DISCLAIMER

#: Space for the heading, and for legend and disclaimer.
TOP_INCHES, BOTTOM_INCHES = 0.55, 0.6
# Width of an entry of the legend: at least, of a letter, and of line and space.
_ENTRY_INCHES, _LETTER_INCHES, _MARK_INCHES = 0.85, 0.06, 0.4


def draw_heading(figure: Figure, title: str) -> None:
    """Draw the heading, and the disclaimer that the picture is for research only."""
    inches = figure.get_figheight()
    figure.text(0.5, 1 - 0.08 / inches, title, color="white", fontsize=11, ha="center", va="top")
    figure.text(0.5, 0.05 / inches, DISCLAIMER, color="#BBBBBB", fontsize=7, ha="center")


def draw_legend(figure: Figure, colours: Mapping[str, str], styles: Collection[str]) -> None:
    """Draw the legend of colours and line styles below the panels."""
    lines: list[Artist] = [
        Line2D([], [], color=colour, label=region) for region, colour in colours.items()
    ]
    known: Mapping[Literal["dashed", "solid"], str] = {"dashed": "reference", "solid": "prediction"}
    for style, name in known.items():
        if style in styles:
            lines.append(Line2D([], [], color="white", linestyle=style, label=name))
    if lines:
        place_legend(figure, lines)


def place_legend(figure: Figure, entries: Sequence[Artist]) -> None:
    """Draw a legend of labelled lines or patches below the panels, in as few rows as fit."""
    widths = [
        max(_ENTRY_INCHES, _LETTER_INCHES * len(str(entry.get_label())) + _MARK_INCHES)
        for entry in entries
    ]
    space = figure.get_figwidth()
    columns = len(entries) if sum(widths) <= space else max(1, int(space / max(widths)))
    figure.legend(
        handles=entries,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.2 / figure.get_figheight()),
        ncols=columns,
        fontsize=8,
        frameon=False,
        labelcolor="white",
    )
