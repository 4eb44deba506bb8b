"""Picture of slices with regions on top, for a paper or a slide."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from volseg.figures.annotations import BOTTOM_INCHES, draw_heading, draw_legend
from volseg.figures.case_view import CaseView
from volseg.figures.colours import region_colours
from volseg.figures.looks import Look
from volseg.figures.slice_panel import (
    draw_filling,
    draw_image,
    draw_outlines,
    draw_sides,
    panel_inches,
)

_DPI = 300
_ONLY_PANEL_INCHES, _PANEL_INCHES = 4.8, 2.8
_TOP_INCHES, _NAME_INCHES = 0.35, 0.2


def overlay_figure(
    view: CaseView, channels: Sequence[str], indices: Sequence[int], look: Look
) -> Figure:
    """Slices of a case with its regions; several channels are columns, several slices rows.

    Several slices in a single channel fill a grid, row by row.

    Args:
        view: The case, in the plane of the slices.
        channels: Channels to show.
        indices: Slices to show, by their index along the third axis.
        look: Look of the regions; without words, the panels fill the picture.
    """
    shown = [(index, channel) for index in indices for channel in channels]
    box = view.box(indices[0] if len(indices) == 1 else None)
    columns = len(channels) if len(channels) > 1 else _columns(len(indices), view.height(box))
    width = _PANEL_INCHES if len(shown) > 1 else _ONLY_PANEL_INCHES
    size = width, panel_inches(view, box, width, lettered=look.words)
    figure, panels = _grid(math.ceil(len(shown) / columns), columns, size, look)
    colours = region_colours(view.regions)
    for panel, (index, channel) in zip(panels, shown, strict=False):
        draw_image(panel, view, channel, index, box, smoothing="bicubic")
        _draw_regions(panel, view, (index, box), colours, look)
        if look.words:
            several = view.images[channel].shape[2] > 1
            _name(panel, f"{view.slice_name(index)}, {channel}" if several else channel)
            draw_sides(panel, view)
    if look.words:
        styles = [style for masks, style in view.masks if masks]
        draw_heading(figure, view.name)
        draw_legend(figure, colours, styles if len(styles) > 1 else ())
    return figure


def _draw_regions(
    panel: Any, view: CaseView, place: tuple[int, Any], colours: Mapping[str, str], look: Look
) -> None:
    if look.fill and view.filled:
        draw_filling(panel, view.filled, *place, colours, look.fill)
    for masks, style in view.masks if look.outline else ():
        draw_outlines(panel, masks, *place, colours, style, look.outline)


def _columns(panels: int, ratio: float) -> int:
    """Columns of a grid that is about as wide as it is high; `ratio` is that of a panel.

    >>> _columns(1, 1.3), _columns(6, 1.3), _columns(9, 1.3)
    (1, 3, 3)
    """
    rows = math.ceil(panels / math.ceil(math.sqrt(panels * ratio)))
    return math.ceil(panels / rows)


def _grid(
    rows: int, columns: int, size: tuple[float, float], look: Look
) -> tuple[Figure, list[Any]]:
    name, top, bottom = (
        (_NAME_INCHES, _TOP_INCHES, BOTTOM_INCHES) if look.words else (0.0, 0.0, 0.0)
    )
    height = rows * (size[1] + name) + top + bottom
    figure = Figure(figsize=(columns * size[0], height), dpi=_DPI, facecolor="black")
    panels = figure.subplots(
        rows,
        columns,
        squeeze=False,
        gridspec_kw={
            "left": 0.0,
            "right": 1.0,
            "top": 1 - (top + name) / height,
            "bottom": bottom / height,
            "wspace": 0.0,
            "hspace": name / size[1],
        },
    )
    for panel in panels.flat:
        panel.set_axis_off()
    return figure, list(panels.flat)


def _name(panel: Any, words: str) -> None:
    panel.text(
        *(0.02, 1.0, words),
        transform=panel.transAxes,
        va="bottom",
        color="#BBBBBB",
        fontsize=8,
    )
