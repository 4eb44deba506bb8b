"""Reliability of probabilities: the share of voxels in the reference by their probability."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from volseg import DISCLAIMER
from volseg.figures.colours import region_colours
from volseg.metrics.calibration_table import RegionCalibration

_STYLES = {"before": "dashed", "after": "solid"}
_PALE, _BACK = "#DDDDDD", "#111111"
_COLUMNS, _SIDE = 4, 3.4


def reliability_figure(regions: Mapping[str, RegionCalibration]) -> Figure:
    """A panel for each region: solid as written, dashed before the temperature if there is any.

    Args:
        regions: Calibration by region, at least one.
    """
    columns = min(len(regions), _COLUMNS)
    rows = math.ceil(len(regions) / columns)
    size = _SIDE * columns, _SIDE * rows + 0.4
    figure = Figure(figsize=size, dpi=100, facecolor=_BACK, layout="constrained")
    figure.suptitle("Reliability; dotted: perfect", color="white", fontsize=11)
    figure.supxlabel(DISCLAIMER, color=_PALE, fontsize=7)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    colours = region_colours(regions)
    for panel, (region, of) in zip(panels, regions.items(), strict=False):
        _draw(panel, region, of, colours[region])
    for panel in panels[len(regions) :]:
        panel.set_axis_off()
    return figure


def _draw(panel: Any, region: str, of: RegionCalibration, colour: str) -> None:
    panel.plot([0, 1], [0, 1], color=_PALE, linestyle="dotted", linewidth=1)
    temperatures = " and ".join(f"{value:g}" for value in of.temperatures)
    names = {"before": "without temperature", "after": "as written"}
    if of.is_tempered:
        names["after"] = f"with temperature {temperatures}"
    for part, reliability in of.parts.items():
        if reliability.curve:
            panel.plot(
                *zip(*reliability.curve, strict=True),
                color=colour,
                linestyle=_STYLES[part],
                linewidth=1.5,
                marker=".",
                label=f"{names[part]}: ECE {reliability.ece:.4f}",
            )
    panel.set_facecolor(_BACK)
    panel.set_title(region, color="white", fontsize=10)
    panel.set_xlabel("predicted probability", color=_PALE, fontsize=8)
    panel.set_ylabel("share in the reference", color=_PALE, fontsize=8)
    panel.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    panel.tick_params(colors=_PALE, labelsize=8)
    panel.grid(color="#333333", linewidth=0.6)
    for spine in panel.spines.values():
        spine.set_color("#555555")
    panel.legend(loc="upper left", fontsize=7, frameon=False, labelcolor="white")
