"""Picture of shares that add up to 1, as a group of bars for each region."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from volseg.figures.annotations import BOTTOM_INCHES, draw_heading, place_legend
from volseg.figures.colours import region_colours

_DPI = 110
_BAR_INCHES, _LEAST_INCHES, _PANEL_INCHES, _TOP_INCHES, _NAMES_INCHES = 0.4, 4.2, 2.4, 0.45, 0.35
_PALE, _LINES, _BACK = "#BBBBBB", "#555555", "black"
# Share of the space of a group that its bars fill.
_FILLED = 0.8


def share_bars(shares: Mapping[str, Mapping[str, float]], title: str) -> Figure:
    """A group of bars for each channel, with a bar in the colour of each region.

    Args:
        shares: Share of each channel by region.
        title: Heading.
    """
    channels = list(dict.fromkeys(name for of in shares.values() for name in of))
    width = max(_LEAST_INCHES, 1 + _BAR_INCHES * len(channels) * len(shares))
    bottom = BOTTOM_INCHES + _NAMES_INCHES
    height = _TOP_INCHES + _PANEL_INCHES + bottom
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor=_BACK)
    panel = figure.add_axes(
        (0.6 / width, bottom / height, 1 - 0.75 / width, _PANEL_INCHES / height), facecolor=_BACK
    )
    colours = region_colours(shares)
    size = _FILLED / len(shares)
    for number, (region, of) in enumerate(shares.items()):
        places = np.arange(len(channels)) + (number - (len(shares) - 1) / 2) * size
        bars = panel.bar(
            places, [100 * of.get(name, 0.0) for name in channels], size, color=colours[region]
        )
        panel.bar_label(bars, fmt="%.0f", color="white", fontsize=7, padding=2)
    panel.set_xticks(np.arange(len(channels)), channels, fontsize=9)
    panel.set_ylim(0, 108)
    panel.set_ylabel("share in %", color=_PALE, fontsize=8)
    panel.tick_params(colors=_PALE, labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(_LINES)
    draw_heading(figure, title)
    place_legend(figure, [Patch(color=colour, label=name) for name, colour in colours.items()])
    return figure
