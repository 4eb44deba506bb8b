"""Curves of loss, Dice and IoU over the epochs of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from volseg.figures.colours import region_colours
from volseg.metrics import get_score

_PARTS = {"train": ("training", "dashed"), "val": ("validation", "solid")}
_SCORES = {name: get_score(name).title for name in ("dice", "iou")}
_PALE, _BACK = "#DDDDDD", "#111111"

Row = Mapping[str, str]


def curves(rows: Sequence[Row], title: str, kept_epoch: int | None = None) -> Figure:
    """Three panels over the epochs, counted from 1: loss, and Dice and IoU by region.

    Args:
        rows: Rows of `metrics.csv`, whose epochs are counted from 0; values may be missing.
        title: Heading of the picture.
        kept_epoch: Epoch of the kept model, counted from 1; it is marked.

    Returns:
        Figure with dashed lines for training and solid lines for validation.
    """
    figure = Figure(figsize=(13, 4.2), dpi=100, facecolor=_BACK)
    panels = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.05, right=0.99, top=0.83, bottom=0.21, wspace=0.17)
    figure.suptitle(title, color="white", fontsize=11)
    colours = region_colours(_regions(rows))
    for part in _PARTS:
        _line(panels[0], rows, (part, "loss", ""), "white")
        for panel, score in zip(panels[1:], _SCORES, strict=True):
            for region, colour in colours.items():
                _line(panel, rows, (part, score, region), colour)
            panel.set_ylim(0, 1)
    for panel, name in zip(panels, ("loss", *_SCORES.values()), strict=True):
        _dress(panel, name)
        panel.set_xlim(0.5, max((int(row["epoch"]) for row in rows), default=1) + 0.5)
        if kept_epoch is not None:
            mark = panel.axvline(kept_epoch, color=_PALE, linewidth=0.8, linestyle="dotted")
            mark.set_label(f"kept model (epoch {kept_epoch})")
    _legend(figure, panels)
    return figure


def _regions(rows: Sequence[Row]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in row)
    regions = [
        name.split("/")[2] for name in names if name.startswith(("train/dice/", "val/dice/"))
    ]
    return [region for region in dict.fromkeys(regions) if region != "mean"]


def _line(panel: Any, rows: Sequence[Row], what: tuple[str, str, str], colour: str) -> None:
    """Draw the values of one column, such as `val/dice/WT`; a loss has no region."""
    column = "/".join(filter(None, what))
    points = [(int(row["epoch"]), float(row[column])) for row in rows if row.get(column)]
    if not points:
        return
    part, _, region = what
    name, style = _PARTS[part]
    panel.plot(
        *zip(*points, strict=True),
        color=colour,
        linestyle=style,
        linewidth=1.3,
        marker="." if len(points) < 30 else None,
        label=f"{name} {region}".strip(),
    )


def _dress(panel: Any, name: str) -> None:
    panel.set_facecolor(_BACK)
    panel.set_title(name, color="white", fontsize=10)
    panel.set_xlabel("epoch", color=_PALE, fontsize=8)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.tick_params(colors=_PALE, labelsize=8)
    panel.grid(color="#333333", linewidth=0.6)
    for spine in panel.spines.values():
        spine.set_color("#555555")


def _legend(figure: Figure, panels: Any) -> None:
    """Draw a legend with each label once; the panels of Dice and IoU have the same labels."""
    found: dict[str, Any] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    figure.legend(
        found.values(),
        found.keys(),
        loc="lower center",
        ncols=min(len(found), 9),
        fontsize=8,
        frameon=False,
        labelcolor="white",
    )
