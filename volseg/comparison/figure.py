"""Picture of a comparison: Dice of each patient in each run, with mean and interval."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from volseg import DISCLAIMER
from volseg.comparison.side_by_side import Comparison
from volseg.words import number_of

#: Colours for colour-blind readers (Okabe and Ito, "Color Universal Design", 2008).
RUN_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#999999")

_WIDTH_INCHES = 8.0
_PANEL_INCHES = 3.0
_TOP_INCHES, _BOTTOM_INCHES, _BETWEEN_INCHES = 0.75, 1.15, 0.4
# Runs in a row of panels, at most, so that their names stay readable.
_MOST_IN_A_ROW = 8
_NAME_CHARACTERS = 20
_MEAN_OFFSET = 0.22


def comparison_figure(comparison: Comparison) -> Figure:
    """A panel for each region, with the runs side by side and a dot for each patient.

    A line joins the dots of a patient; black marks show the mean over patients and its 95 %
    interval.
    """
    title = comparison.scores[0].title
    figure, panels = _grid(len(comparison.regions), len(comparison.runs), title)
    for panel, region in zip(panels, comparison.regions, strict=True):
        _draw(panel, comparison, region)
        panel.set_title(region, fontsize=11)
    inches = figure.get_figheight()
    figure.text(0.5, 1 - 0.12 / inches, _heading(comparison), ha="center", va="top", fontsize=10.5)
    figure.text(0.5, 0.06 / inches, DISCLAIMER, ha="center", fontsize=7.5, color="#555555")
    return figure


def _heading(comparison: Comparison) -> str:
    score = comparison.scores[0]
    some = comparison.statistics(comparison.runs[0], comparison.regions[0], score.name)
    interval = "" if some.low is None else " and its 95 % interval"
    patients = number_of(len(comparison.patients), "patient")
    return f"{score.title} of {patients}; a line for each patient; black: mean{interval}"


def _grid(regions: int, runs: int, title: str) -> tuple[Figure, list[Any]]:
    """Panels in one row, or in one column if there are too many runs."""
    rows, columns = (1, regions) if regions * runs <= _MOST_IN_A_ROW else (regions, 1)
    panels_inches = rows * _PANEL_INCHES + (rows - 1) * _BETWEEN_INCHES
    height = panels_inches + _TOP_INCHES + _BOTTOM_INCHES
    figure = Figure(figsize=(_WIDTH_INCHES, height), dpi=120, facecolor="white")
    edges = {
        "left": 0.09,
        "right": 0.985,
        "top": 1 - _TOP_INCHES / height,
        "bottom": _BOTTOM_INCHES / height,
        "wspace": 0.06,
        "hspace": _BETWEEN_INCHES / _PANEL_INCHES,
    }
    panels = figure.subplots(
        rows, columns, squeeze=False, sharex=True, sharey=True, gridspec_kw=edges
    )
    for panel in panels[:, 0]:
        panel.set_ylabel(title, fontsize=11)
    return figure, list(panels.flat)


def _draw(panel: Any, comparison: Comparison, region: str) -> None:
    score = comparison.scores[0].name
    dice = [comparison.by_patient(run, region, score) for run in comparison.runs]
    places = np.arange(len(dice))
    for patient in comparison.patients:
        values = [of_run.get(patient, np.nan) for of_run in dice]
        panel.plot(places, values, color="#BBBBBB", linewidth=0.8, zorder=1)
    for place, run, of_run in zip(places, comparison.runs, dice, strict=True):
        colour = RUN_COLOURS[place % len(RUN_COLOURS)]
        values = list(of_run.values())
        panel.scatter([place] * len(values), values, s=26, color=colour, alpha=0.85, zorder=2)
        _draw_mean(panel, place + _MEAN_OFFSET, comparison.statistics(run, region, score))
    names = [textwrap.fill(run.name, _NAME_CHARACTERS) for run in comparison.runs]
    panel.set_xticks(places, names, rotation=30, ha="right", rotation_mode="anchor", fontsize=9)
    panel.set_xlim(-0.4, len(dice) - 0.4)
    panel.set_ylim(-0.02, 1.02)
    panel.grid(axis="y", color="#E5E5E5", linewidth=0.8, zorder=0)
    panel.spines[["top", "right"]].set_visible(False)


def _draw_mean(panel: Any, place: float, found: Any) -> None:
    if found.mean is None:
        return
    panel.plot(place, found.mean, marker="D", markersize=6, color="black", zorder=4)
    if found.low is not None:
        panel.plot([place, place], [found.low, found.high], color="black", linewidth=1.6, zorder=3)
