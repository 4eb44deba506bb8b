"""Heading, disclaimer and legend around the panels of a picture of cases."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from volseg import DISCLAIMER

#: Space for the heading, and for legend and disclaimer.
TOP_INCHES, BOTTOM_INCHES = 0.55, 0.6
# Width of an entry of the legend, at most.
_ENTRY_INCHES = 0.85


def draw_heading(figure: Figure, title: str) -> None:
    """Draw the heading, and the disclaimer that the picture is for research only."""
    inches = figure.get_figheight()
    figure.text(0.5, 1 - 0.08 / inches, title, color="white", fontsize=11, ha="center", va="top")
    figure.text(0.5, 0.05 / inches, DISCLAIMER, color="#BBBBBB", fontsize=7, ha="center")


def draw_legend(figure: Figure, colours: Mapping[str, str], styles: Collection[str]) -> None:
    """Draw the legend of colours and line styles below the panels."""
    lines = [Line2D([], [], color=colour, label=region) for region, colour in colours.items()]
    known: Mapping[Literal["dashed", "solid"], str] = {"dashed": "reference", "solid": "prediction"}
    for style, name in known.items():
        if style in styles:
            lines.append(Line2D([], [], color="white", linestyle=style, label=name))
    if lines:
        figure.legend(
            handles=lines,
            loc="lower center",
            bbox_to_anchor=(0.5, 0.2 / figure.get_figheight()),
            ncols=min(len(lines), int(figure.get_figwidth() / _ENTRY_INCHES)),
            fontsize=8,
            frameon=False,
            labelcolor="white",
        )
