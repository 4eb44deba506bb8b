"""Picture of a map over a scan: slices through a region, with its outline and a colour bar."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure

from volseg.figures.annotations import draw_heading, draw_legend
from volseg.figures.case_view import CaseView, choose_slices
from volseg.figures.colours import region_colours
from volseg.figures.planes import PLANE_AXES
from volseg.figures.slice_panel import (
    draw_image,
    draw_outlines,
    draw_sides,
    flat_slice,
    panel_inches,
)

# Slices through the region of a stack without orientation, at most.
_SLICES = 3
_DPI = 110
_PANEL_INCHES, _BAR_INCHES, _LEAST_PANELS = 2.9, 1.1, 2
_NAME_INCHES, _LINE_INCHES, _LETTER_INCHES = 0.24, 0.17, 0.066
_TOP_INCHES, _BOTTOM_INCHES = 0.38, 0.6
# Percentile of marked voxels that gets the last colour: single voxels may be far above.
_UNSATURATED = 99.9
# Opacity of the last colour. From this share of its value on, all colours have that opacity.
_OPACITY, _FULL = 0.85, 0.6
_PALE = "#BBBBBB"


@dataclass(frozen=True)
class HeatMap:
    """A map of a case, and what is drawn with it.

    Attributes:
        values: float32 (I, J, K) on the grid of the view; 0 is transparent.
        target: Mask (I, J, K) that the slices go through; a single voxel is marked by a ring.
        channel: Channel below the map.
        unit: Words at the colour bar.
        signed: Whether negative values have colours of their own.
        notes: Lines below the heading.
    """

    values: npt.NDArray[np.float32]
    target: npt.NDArray[np.bool_]
    channel: str
    unit: str
    signed: bool = False
    notes: Sequence[str] = field(default=())

    def shades(self, shown: Iterable[npt.NDArray[np.float32]]) -> ScalarMappable:
        """Colours of the values, the more transparent the nearer to 0.

        Args:
            shown: Values of the slices in the picture; colours reach to the largest of them.
        """
        limit = max(map(_limit, shown)) or 1.0
        return ScalarMappable(Normalize(-limit if self.signed else 0, limit), _shades(self.signed))


@dataclass(frozen=True)
class _Section:
    """A slice: the case and the map in the plane of the slice, and the index of the slice."""

    view: CaseView
    values: npt.NDArray[np.float32]
    target: npt.NDArray[np.bool_]
    index: int

    @property
    def height(self) -> float:
        """Height of its panel, in inches."""
        height = panel_inches(self.view, self.view.box(), _PANEL_INCHES)
        return min(height, 1.5 * _PANEL_INCHES)


def heat_figure(view: CaseView, heat: HeatMap, title: str) -> Figure:
    """Slices through a region, above without and below with the map.

    They are the slices of each plane with the largest area of the target, or, of a case without
    orientation, three slices of the target and that of the largest value.

    Args:
        view: The case in axial slices, with the outlines to draw.
        heat: The map.
        title: Heading.
    """
    sections = _sections(view, heat)
    width = max(len(sections), _LEAST_PANELS) * _PANEL_INCHES + _BAR_INCHES
    letters = int(width / _LETTER_INCHES)
    notes = (*heat.notes, *_not_outlined(view, sections))
    lines = [line for note in notes for line in textwrap.wrap(note, letters)]
    row = max(section.height for section in sections)
    top = _TOP_INCHES + _LINE_INCHES * len(lines)
    total = top + 2 * row + _NAME_INCHES + _BOTTOM_INCHES
    figure = Figure(figsize=(width, total), dpi=_DPI, facecolor="black")
    draw_heading(figure, title)
    for number, line in enumerate(lines):
        place = 0.5, 1 - (_TOP_INCHES + _LINE_INCHES * number) / total
        figure.text(*place, line, color=_PALE, fontsize=8, ha="center", va="center")
    shades = heat.shades(section.values[:, :, section.index] for section in sections)
    left = (width - _BAR_INCHES - len(sections) * _PANEL_INCHES) / 2
    for number, section in enumerate(sections):
        x = left + number * _PANEL_INCHES
        for bottom, with_map in ((row, False), (0.0, True)):
            y, size = _BOTTOM_INCHES + bottom, (_PANEL_INCHES / width, row / total)
            panel = figure.add_axes((x / width, y / total, *size))
            _draw(panel, section, heat, shades if with_map else None)
        name = f"{section.view.slice_name(section.index)}, {heat.channel}"
        place = (x + _PANEL_INCHES / 2) / width, 1 - (top + _NAME_INCHES / 2) / total
        figure.text(*place, name, color=_PALE, fontsize=8, ha="center", va="center")
    at = (width - _BAR_INCHES + 0.1) / width, (_BOTTOM_INCHES + 0.25) / total
    _draw_bar(figure, heat, shades, (*at, 0.16 / width, (row - 0.5) / total))
    draw_legend(
        figure,
        region_colours(view.regions),
        [style for masks, style in view.masks if masks],
    )
    return figure


def _sections(view: CaseView, heat: HeatMap) -> list[_Section]:
    if not view.is_oriented:
        largest = int(abs(heat.values).max(axis=(0, 1)).argmax()) if heat.values.any() else None
        shown = {*choose_slices(heat.target, _SLICES), *([] if largest is None else [largest])}
        return [_Section(view, heat.values, heat.target, index) for index in sorted(shown)]
    turned = {plane: heat.target.transpose(axes) for plane, axes in PLANE_AXES.items()}
    return [
        _Section(
            view.in_plane(plane),
            heat.values.transpose(PLANE_AXES[plane]),
            target,
            int(np.count_nonzero(target, axis=(0, 1)).argmax()),
        )
        for plane, target in turned.items()
    ]


def _not_outlined(view: CaseView, sections: Sequence[_Section]) -> Iterator[str]:
    """Which masks of the case lie in no slice of the picture, and where they are."""
    for number, name in enumerate(("reference", "prediction")):
        masks = list(view.masks[number][0].values())
        shown = [
            mask[:, :, section.index]
            for section in sections
            for mask in section.view.masks[number][0].values()
        ]
        if not masks or any(map(np.any, shown)):
            continue
        found = np.flatnonzero(np.any(masks, axis=(0, 1, 2)))
        if not found.size:
            yield f"the {name} has no voxel of this region"
            continue
        ends = (view.slice_name(int(found[end])) for end in (0, -1))
        yield f"the {name} lies in none of these slices, but from {' to '.join(ends)}"


def _draw(panel: Any, section: _Section, heat: HeatMap, shades: ScalarMappable | None) -> None:
    """Draw a slice with its outlines, and the map on top if there are shades for it."""
    view, index, box = section.view, section.index, section.view.box()
    panel.set_axis_off()
    draw_image(panel, view, heat.channel, index, box, smoothing="bicubic")
    if shades is not None:
        layer = shades.to_rgba(flat_slice(section.values, index, box))
        panel.imshow(layer, aspect=view.aspect, interpolation="bilinear")
    colours = region_colours(view.regions)
    for masks, style in view.masks:
        draw_outlines(panel, masks, index, box, colours, style)
    if np.count_nonzero(heat.target) == 1:
        (row,), (column,) = np.nonzero(flat_slice(section.target, index, box))
        panel.plot(column, row, "o", markersize=11, fillstyle="none", color="white")
    draw_sides(panel, view)


def _draw_bar(
    figure: Figure, heat: HeatMap, shades: ScalarMappable, place: tuple[float, float, float, float]
) -> None:
    """Draw the colour bar, on the grey of a slice."""
    panel = figure.add_axes(place, facecolor="#555555")
    extend = "both" if heat.signed else "max"
    bar = figure.colorbar(shades, cax=panel, extend=extend)
    bar.ax.tick_params(colors="white", labelsize=7)
    bar.set_label(heat.unit, color="white", fontsize=8)
    bar.outline.set_edgecolor(_PALE)


def _limit(values: npt.NDArray[np.float32]) -> float:
    """Value of a slice above which hardly any of its marked voxels lies; 0 if none is marked."""
    marked = abs(values[values != 0])
    return float(np.percentile(marked, _UNSATURATED)) if marked.size else 0.0


def _shades(signed: bool) -> Colormap:
    values = np.linspace(-1.0 if signed else 0.0, 1.0, 512)
    shades = colormaps["coolwarm" if signed else "inferno"](np.linspace(0, 1, 512))
    shades[:, 3] = _OPACITY * np.minimum(1, abs(values) / _FULL)
    return ListedColormap(shades)
