"""Contact sheets: a small picture of every case, cut out of its preview."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from volseg import DISCLAIMER
from volseg.figures.canvas import Canvas
from volseg.figures.colours import region_colours
from volseg.figures.preview import THUMBNAIL

#: Cases on a sheet, at most; a sheet of so many takes 1 to 2 MB.
MOST_CASES = 80

# Sizes in pixels.
_COLUMNS, _CELL, _PICTURE = 8, 196, 184
_TITLE, _NAME, _WORDS, _ROW, _MARGIN = 16, 11, 10, 14, 10
# Room for the last line.
_LEAST_WIDTH = 300
_PALE = "#BBBBBB"


@dataclass(frozen=True)
class SheetEntry:
    """A case on a contact sheet.

    Attributes:
        case_id: Name of the case.
        preview: Its preview; None if there is none.
        words: Lines below its name, such as its volumes.
    """

    case_id: str
    preview: Path | None
    words: Sequence[str] = ()


def draw_sheet(
    path: Path, title: str, entries: Sequence[SheetEntry], regions: Iterable[str]
) -> None:
    """Draw a contact sheet: the axial slice of each preview, with name and words.

    Args:
        path: PNG file to write.
        title: Heading.
        entries: Cases, at most `MOST_CASES`.
        regions: Names of all regions, for the legend.

    Raises:
        OutputError: If the file cannot be written, or volseg did not write the file in its place.
    """
    columns = min(_COLUMNS, max(len(entries), 1))
    rows = math.ceil(len(entries) / columns)
    lines = max((len(entry.words) for entry in entries), default=0)
    top, cell = 2 * _MARGIN + _TITLE + _ROW, _PICTURE + (1 + lines) * _ROW + _MARGIN
    width = max(columns * _CELL + _MARGIN, _LEAST_WIDTH)
    canvas = Canvas(width, top + rows * cell + _MARGIN + _ROW, region_colours(regions))
    inside = width - 2 * _MARGIN
    canvas.write(canvas.fitting(title, _TITLE, inside), (_MARGIN, _MARGIN + _TITLE), _TITLE)
    x = _MARGIN
    for region, colour in canvas.colours.items():
        canvas.write(region, (x, 2 * _MARGIN + _TITLE + _WORDS), _NAME, colour)
        x += canvas.width(region, _NAME) + _MARGIN
    for number, entry in enumerate(entries):
        place = (_MARGIN + number % columns * _CELL, top + number // columns * cell)
        _draw(canvas, entry, place)
    canvas.write(
        f"Lines: prediction. {DISCLAIMER}", (_MARGIN, canvas.size[1] - _MARGIN), _WORDS, _PALE
    )
    canvas.save(path)


def _draw(canvas: Canvas, entry: SheetEntry, place: tuple[int, int]) -> None:
    left, top = place
    picture = _thumbnail(entry.preview)
    if picture is None:
        canvas.write("no picture", (left + _PICTURE // 2, top + _PICTURE // 2), _NAME, _PALE, 0.5)
    else:
        rows, columns = picture.shape[:2]
        canvas.image(picture, (left + (_PICTURE - columns) // 2, top + (_PICTURE - rows) // 2))
    y = top + _PICTURE + _ROW
    canvas.write(canvas.fitting(entry.case_id, _NAME, _PICTURE), (left, y), _NAME)
    for number, words in enumerate(entry.words, start=1):
        line = canvas.fitting(words, _WORDS, _PICTURE)
        canvas.write(line, (left, y + number * _ROW), _WORDS, _PALE)


def _thumbnail(preview: Path | None) -> npt.NDArray[np.uint8] | None:
    """The marked part of a preview (rows, columns, 3); None if there is no such picture."""
    if preview is None:
        return None
    try:
        with Image.open(preview) as picture:
            left, top, right, bottom = map(int, picture.info[THUMBNAIL].split())
            part = picture.crop((left, top, right, bottom)).convert("RGB")
    # The file is missing, or another program has saved it.
    except (OSError, ValueError, KeyError):
        return None
    part.thumbnail((_PICTURE, _PICTURE), Image.Resampling.LANCZOS)
    return np.asarray(part)
