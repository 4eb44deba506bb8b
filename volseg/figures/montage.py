"""Montages: slices of cases in all channels, with outlines of reference and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt
from matplotlib.figure import Figure

from volseg.figures.annotations import BOTTOM_INCHES, TOP_INCHES, draw_heading, draw_legend
from volseg.figures.case_view import CaseView, choose_slices
from volseg.figures.colours import region_colours
from volseg.figures.slice_panel import (
    SIDES_INCHES,
    draw_image,
    draw_outlines,
    draw_sides,
    panel_inches,
)
from volseg.labels import Masks

_PANEL_INCHES = 2.2 + 2 * SIDES_INCHES
# Space above each row for the names of case and slice.
_NAME_INCHES = 0.2
_POINTS_PER_INCH = 72
_LEGEND_INCHES = 5.0


def montage(
    images: Mapping[str, npt.NDArray[Any]],
    reference: Masks | None,
    prediction: Masks | None,
    title: str,
    slices: int = 3,
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
) -> Figure:
    """Montage of one case, with slices as rows and channels as columns; see `gallery`."""
    return gallery([CaseView(images, reference, prediction, "", spacing_mm)], title, slices)


def gallery(views: Sequence[CaseView], title: str, slices: int = 1) -> Figure:
    """Montage of cases: axial slices (rows) in all channels (columns), with outlined regions.

    The rows show the slice with the largest area of the reference, and slices spread evenly over
    the reference; without reference the prediction counts, without any mask the brain.

    Args:
        views: Cases with the same channels.
        title: Heading of the picture.
        slices: Number of rows of each case, at most.

    Returns:
        Figure for `save_figure` or `figure_array`.
    """
    rows = [
        (view, view.box(), index) for view in views for index in choose_slices(view.target, slices)
    ]
    height = max(panel_inches(view, box, _PANEL_INCHES) for view, box, _ in rows)
    channels = list(views[0].images)
    figure, axes = _grid(len(rows), len(channels), height)
    colours = region_colours(region for view in views for region in view.regions)
    for channel, panel in zip(channels, axes[0], strict=True):
        above_name = _NAME_INCHES * _POINTS_PER_INCH
        panel.set_title(channel, color="white", fontsize=9, pad=above_name)
    for (view, box, index), panels in zip(rows, axes, strict=True):
        for channel, panel in zip(channels, panels, strict=True):
            draw_image(panel, view, channel, index, box)
            for masks, style in view.masks:
                draw_outlines(panel, masks, index, box, colours, style)
            draw_sides(panel, view)
        _name_row(panels[0], view, index)
    draw_heading(figure, title)
    draw_legend(figure, colours, {style for view in views for masks, style in view.masks if masks})
    return figure


def _grid(rows: int, columns: int, panel_height: float) -> tuple[Figure, Any]:
    height = rows * (panel_height + _NAME_INCHES) + TOP_INCHES + BOTTOM_INCHES
    width = max(columns * _PANEL_INCHES, _LEGEND_INCHES)
    figure = Figure(figsize=(width, height), dpi=100, facecolor="black")
    edges = {
        "left": 0.0,
        "right": 1.0,
        "top": 1 - (TOP_INCHES + _NAME_INCHES) / height,
        "bottom": BOTTOM_INCHES / height,
        "wspace": 0.0,
        "hspace": _NAME_INCHES / panel_height,
    }
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw=edges)
    for panel in axes.flat:
        panel.set_axis_off()
    return figure, axes


def _name_row(panel: Any, view: CaseView, index: int) -> None:
    small = {"color": "#BBBBBB", "fontsize": 7, "transform": panel.transAxes}
    names = ", ".join(name for name in (view.name, view.slice_name(index)) if name)
    panel.text(0.02, 1.0, names, va="bottom", **small)
