"""Slices of a case as rows of panels with words around them, drawn without matplotlib's figures."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from volseg import DISCLAIMER
from volseg.figures.canvas import Canvas, Frame, Place
from volseg.figures.case_view import CaseView
from volseg.figures.colours import region_colours

#: A slice: the case in the plane of the slice, and the index along the third axis.
Section = tuple[CaseView, int]

# Sizes in pixels. Panels have margins for the letters of the sides: across, and above and below.
_WIDTH, _LEAST_WIDTH, _WIDEST_PANEL = 1240, 520, 420
_MARGIN, _ACROSS, _SIDES = 12, 26, 16
_TITLE, _WORDS, _NOTE, _LINE = 17, 13, 11, 15
_PALE = "#BBBBBB"
# Panels of a single channel in a row, at most.
_MOST_PANELS = 4
# Mean width of a letter, as a share of its height.
_LETTER = 0.55


@dataclass(frozen=True)
class Panel:
    """A slice of a view in one channel, and the words above it."""

    view: CaseView
    channel: str
    index: int
    words: str

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height."""
        columns, rows = self.view.images[self.channel].shape[:2]
        return columns * self.view.spacing_mm[0], rows * self.view.spacing_mm[1]


@dataclass(frozen=True)
class PanelPicture:
    """A drawn picture of panels.

    Attributes:
        canvas: The picture.
        boxes: Left, top, right and bottom of the panels of each channel, letters included, in the
            order of the slices.
    """

    canvas: Canvas
    boxes: Mapping[str, Sequence[Sequence[int]]]


def draw_sections(
    sections: Sequence[Section],
    legend: Mapping[str, str],
    title: str = "",
    note: str = "",
    *,
    colours: Mapping[str, str] | None = None,
    width: int = _WIDTH,
) -> PanelPicture:
    """Draw slices of a case as rows, with a column for each channel.

    With a single channel, the panels are in rows of four. The picture names planes, slices, sides
    and regions, and says that it is for research only.

    Args:
        sections: Slices of views that are cut to the part to show.
        legend: Words of the legend by region, such as its volume.
        title: Heading.
        note: A line below the heading, such as a doubt about the model.
        colours: Colour by region; None: see `region_colours`.
        width: Most columns of pixels.
    """
    view, rows = sections[0][0], _rows(sections)
    count = max(map(len, rows))
    cell = min(_WIDEST_PANEL, (width - 2 * _MARGIN) // count)
    width = max(_LEAST_WIDTH, count * cell + 2 * _MARGIN)
    scale = (cell - 2 * _ACROSS) / max(panel.size_mm[0] for row in rows for panel in row)
    heights = [round(max(panel.size_mm[1] for panel in row) * scale) for row in rows]
    top = 2 * _MARGIN + (_TITLE if title else 0) + (_NOTE + _MARGIN if note else 0)
    letters = int((width - 2 * _MARGIN) / (_LETTER * _NOTE))
    foot = textwrap.wrap(f"{view.meaning_of_lines} {DISCLAIMER}".strip(), letters)
    bottom = 2 * (_MARGIN + _WORDS) + (len(foot) - 1) * _LINE
    canvas = Canvas(
        width,
        top + sum(heights) + len(rows) * (_WORDS + 2 * _SIDES) + bottom,
        region_colours(view.regions) if colours is None else colours,
    )
    _head(canvas, title, note)
    boxes: dict[str, list[Sequence[int]]] = {}
    for row, height in zip(rows, heights, strict=True):
        for number, panel in enumerate(row):
            left = (canvas.size[0] - count * cell) // 2 + number * cell
            box = _draw(canvas, panel, (left, top), (cell, height + 2 * _SIDES), scale)
            boxes.setdefault(panel.channel, []).append(box)
        top += height + _WORDS + 2 * _SIDES
    _foot(canvas, legend, foot)
    return PanelPicture(canvas, boxes)


def _rows(sections: Sequence[Section]) -> list[list[Panel]]:
    rows = [
        [
            Panel(view, name, index, name if number else f"{view.slice_name(index)}, {name}")
            for number, name in enumerate(view.images)
        ]
        for view, index in sections
    ]
    if len(rows[0]) > 1:
        return rows
    panels = [panel for row in rows for panel in row]
    starts = range(0, len(panels), _MOST_PANELS)
    return [panels[start : start + _MOST_PANELS] for start in starts]


def _head(canvas: Canvas, title: str, note: str) -> None:
    width = canvas.size[0] - 2 * _MARGIN
    canvas.write(canvas.fitting(title, _TITLE, width), (_MARGIN, _MARGIN + _TITLE), _TITLE)
    if note:
        place = (_MARGIN, 2 * _MARGIN + _TITLE + _NOTE)
        canvas.write(canvas.fitting(note, _NOTE, width), place, _NOTE)


def _draw(canvas: Canvas, panel: Panel, place: Place, size: Place, scale: float) -> list[int]:
    """Draw a panel into a cell, and return its box in pixels, letters of the sides included."""
    width, height = (max(1, round(scale * mm)) for mm in panel.size_mm)
    left = place[0] + (size[0] - width) // 2
    top = place[1] + _WORDS + (size[1] - height) // 2
    words = canvas.fitting(panel.words, _WORDS, size[0])
    canvas.write(words, (place[0] + size[0] // 2, place[1] + _WORDS), _WORDS, _PALE, 0.5)
    shape = panel.view.images[panel.channel].shape
    box = (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    frame = Frame(box, (left, top), (width, height))
    canvas.slice(panel.view, panel.channel, panel.index, frame)
    canvas.sides(panel.view, frame, _WORDS)
    return [left - _SIDES, top - _SIDES, left + width + _SIDES, top + height + _SIDES]


def _foot(canvas: Canvas, legend: Mapping[str, str], lines: Sequence[str]) -> None:
    """Write the legend of the regions, and lines of words below it."""
    height, x = canvas.size[1] - (len(lines) - 1) * _LINE, _MARGIN
    row = height - _MARGIN - _WORDS - 4
    for region, colour in canvas.colours.items():
        words = f"{region} {legend.get(region, '')}".strip()
        canvas.line((x, row - _WORDS // 3), 18, colour)
        canvas.write(words, (x + 24, row), _WORDS)
        x += 24 + canvas.width(words, _WORDS) + 2 * _MARGIN
    for number, line in enumerate(lines):
        canvas.write(line, (_MARGIN, height - _MARGIN + number * _LINE), _NOTE, _PALE)
