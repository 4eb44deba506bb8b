"""Preview of a predicted case: slices with most tumour in all channels, with outlines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from volseg import DISCLAIMER
from volseg.figures.canvas import Canvas, Frame, Place
from volseg.figures.case_view import CaseView, choose_slices
from volseg.figures.colours import region_colours
from volseg.figures.planes import PLANE_AXES
from volseg.figures.samples import shown_channel

#: Keyword in the metadata of a preview: the part for the contact sheet, as left, top, right and
#: bottom in pixels.
THUMBNAIL = "volseg-thumbnail"

# Sizes in pixels. Panels have a margin for the letters of the sides.
_WIDTH, _LEAST_WIDTH, _WIDEST_PANEL = 1240, 520, 420
_MARGIN, _SIDES = 12, 16
_TITLE, _WORDS, _NOTE = 17, 13, 11
_PALE, _WARNING = "#BBBBBB", "#F0E442"
# Slices of a stack without orientation, at most.
_SLICES = 3


@dataclass(frozen=True)
class _Panel:
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


def draw_preview(path: Path, view: CaseView, legend: Mapping[str, str], note: str = "") -> None:
    """Draw a predicted case, as a row for each plane and a column for each channel.

    Each plane shows the slice with the largest area of all regions together, or the middle of the
    head if nothing is predicted. A case without orientation shows its slice of largest area, and
    slices spread over the regions. The picture names planes, slices, sides and regions, and says
    that it is for research only.

    Args:
        path: PNG file to write.
        view: The case, as 8-bit greys within the box of the head; see `GreyImages.view`.
        legend: Words of the legend by region, such as its volume.
        note: A line below the title, such as a doubt about the model.

    Raises:
        OutputError: If the file cannot be written, or volseg did not write the file in its place.
    """
    rows = _rows(view)
    count = max(map(len, rows))
    cell = min(_WIDEST_PANEL, (_WIDTH - 2 * _MARGIN) // count)
    scale = (cell - 2 * _SIDES) / max(panel.size_mm[0] for row in rows for panel in row)
    heights = [round(max(panel.size_mm[1] for panel in row) * scale) for row in rows]
    top = 2 * _MARGIN + _TITLE + (_NOTE + _MARGIN if note else 0)
    bottom = 2 * (_MARGIN + _WORDS)
    canvas = Canvas(
        max(_LEAST_WIDTH, count * cell + 2 * _MARGIN),
        top + sum(heights) + len(rows) * (_WORDS + 2 * _SIDES) + bottom,
        region_colours(view.prediction or ()),
    )
    _head(canvas, view.name, note)
    boxes: dict[str, list[int]] = {}
    for row, height in zip(rows, heights, strict=True):
        for number, panel in enumerate(row):
            left = (canvas.size[0] - count * cell) // 2 + number * cell
            box = _draw(canvas, panel, (left, top), (cell, height + 2 * _SIDES), scale)
            boxes.setdefault(panel.channel, box)
        top += height + _WORDS + 2 * _SIDES
    _foot(canvas, legend)
    canvas.save(path, {THUMBNAIL: " ".join(map(str, boxes[shown_channel(boxes)]))})


def _rows(view: CaseView) -> list[list[_Panel]]:
    """Panels by row; with a single channel, all panels are in one row."""
    rows = [
        [
            _Panel(turned, name, index, name if number else f"{turned.slice_name(index)}, {name}")
            for number, name in enumerate(turned.images)
        ]
        for turned, index in _sections(view)
    ]
    return rows if len(view.images) > 1 else [[panel for row in rows for panel in row]]


def _sections(view: CaseView) -> list[tuple[CaseView, int]]:
    """Slices to show, each as a view in its plane and an index."""
    shape = next(iter(view.images.values())).shape
    depth = np.zeros(shape, np.uint8)
    for mask in (view.prediction or {}).values():
        depth += mask
    if not view.is_oriented:
        return [(view, index) for index in reversed(choose_slices(depth > 0, _SLICES))]
    return [
        (view.in_plane(plane), _fullest(depth.transpose(axes)))
        for plane, axes in PLANE_AXES.items()
    ]


def _fullest(depth: npt.NDArray[np.uint8]) -> int:
    """Index of the slice with the largest area of all regions; without any, the middle slice.

    Of slices with equal areas, it is the slice with most of the inner regions.

    Args:
        depth: Number of regions that hold each voxel (I, J, K).
    """
    areas, inner = np.count_nonzero(depth, axis=(0, 1)), depth.sum(axis=(0, 1), dtype=np.int64)
    return int(np.lexsort((-inner, -areas))[0]) if areas.any() else depth.shape[2] // 2


def _head(canvas: Canvas, name: str, note: str) -> None:
    width = canvas.size[0] - 2 * _MARGIN
    canvas.write(canvas.fitting(name, _TITLE, width), (_MARGIN, _MARGIN + _TITLE), _TITLE)
    if note:
        place = (_MARGIN, 2 * _MARGIN + _TITLE + _NOTE)
        canvas.write(canvas.fitting(note, _NOTE, width), place, _NOTE, _WARNING)


def _draw(canvas: Canvas, panel: _Panel, place: Place, size: Place, scale: float) -> list[int]:
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
    middle, centre = top + height // 2 + _WORDS // 2, left + width // 2
    edges = {
        "left": (left - _SIDES // 2, middle),
        "right": (left + width + _SIDES // 2, middle),
        "top": (centre, top - 3),
        "bottom": (centre, top + height + _WORDS),
    }
    for edge, letter in panel.view.sides.items():
        canvas.write(letter, edges[edge], _WORDS, "white", 0.5)
    return [left - _SIDES, top - _SIDES, left + width + _SIDES, top + height + _SIDES]


def _foot(canvas: Canvas, legend: Mapping[str, str]) -> None:
    """Write the legend of the regions, and the disclaimer."""
    height, x = canvas.size[1], _MARGIN
    row = height - _MARGIN - _WORDS - 4
    for region, colour in canvas.colours.items():
        words = f"{region} {legend.get(region, '')}".strip()
        canvas.line((x, row - _WORDS // 3), 18, colour)
        canvas.write(words, (x + 24, row), _WORDS)
        x += 24 + canvas.width(words, _WORDS) + 2 * _MARGIN
    canvas.write(f"Lines: prediction. {DISCLAIMER}", (_MARGIN, height - _MARGIN), _NOTE, _PALE)
