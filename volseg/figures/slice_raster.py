"""Pictures of the slices of a case, all of one size, for animations."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from volseg import DISCLAIMER
from volseg.figures.canvas import Canvas, Frame, Pixels, Place
from volseg.figures.case_view import Box, CaseView
from volseg.figures.colours import region_colours
from volseg.figures.looks import Look

_TEXT_PIXELS, _NOTE_PIXELS, _ROW_PIXELS = 12, 11, 16
_MARGIN_PIXELS = 4
# Space on each side of an image for the letters of the patient's sides.
_EDGE_PIXELS = 18
_PALE = "#BBBBBB"


@dataclass(frozen=True)
class SliceRaster:
    """Draws the slices of a case in one channel, all in the same size.

    Attributes:
        view: The case.
        channel: Channel to show in grey.
        box: Part of the case to show.
        size: Columns and rows of the image, without the rows of words below it.
        look: Look of the regions.
    """

    view: CaseView
    channel: str
    box: Box
    size: Place
    look: Look = field(default_factory=Look)

    def draw(self, index: int) -> Pixels:
        """RGB array (rows, columns, 3) of a slice, by its index along the third axis."""
        canvas = self._new_canvas()
        frame = Frame(self.box, (self._left, self._edge), self.size)
        canvas.slice(self.view, self.channel, index, frame, self.look)
        if self.look.words:
            canvas.image(self._words, (0, self._bottom))
            canvas.write(self.view.slice_name(index), self._row(1), _TEXT_PIXELS)
            canvas.sides(self.view, frame, _TEXT_PIXELS)
        return canvas.pixels

    @cached_property
    def colours(self) -> dict[str, str]:
        """Colour by region."""
        return region_colours(self.view.regions)

    @property
    def _notes(self) -> list[str]:
        """Rows of words below the name of the slice."""
        both = self.view.reference and self.view.prediction
        return [*([self.view.meaning_of_lines] if both else []), DISCLAIMER]

    def _row(self, number: int) -> Place:
        """Where the words of a row below the image begin."""
        return _MARGIN_PIXELS, self._bottom + number * _ROW_PIXELS - _MARGIN_PIXELS

    def _new_canvas(self) -> Canvas:
        words = (1 + len(self._notes)) * _ROW_PIXELS + 1 if self.look.words else 0
        return Canvas(self.size[0] + 2 * self._left, self._bottom + words, self.colours)

    @property
    def _edge(self) -> int:
        return _EDGE_PIXELS if self.look.words and self.view.sides else 0

    @property
    def _bottom(self) -> int:
        """First row of the words below the image."""
        return self.size[1] + 2 * self._edge

    @cached_property
    def _left(self) -> int:
        """Width of the margins on both sides, which a narrow image needs for the words below it."""
        if not self.look.words:
            return 0
        canvas = Canvas(1, 1, {})
        # The number of a slice has up to two digits more than that of the first.
        first_row = [f"{self.view.slice_name(0)}00", *self.colours]
        widest = max(
            sum(canvas.width(words, _TEXT_PIXELS) + 2 * _MARGIN_PIXELS for words in first_row),
            *(canvas.width(note, _NOTE_PIXELS) + 2 * _MARGIN_PIXELS for note in self._notes),
        )
        spare = widest - self.size[0]
        return max(self._edge, (spare + 1) // 2)

    @cached_property
    def _words(self) -> Pixels:
        """Rows below the image with the words that are the same for all slices."""
        canvas = self._new_canvas()
        right, (_, row) = canvas.size[0], self._row(1)
        for region, colour in reversed(self.colours.items()):
            right -= canvas.width(region, _TEXT_PIXELS) + 2 * _MARGIN_PIXELS
            canvas.write(region, (right, row), _TEXT_PIXELS, colour)
        for number, words in enumerate(self._notes, start=2):
            canvas.write(words, self._row(number), _NOTE_PIXELS, _PALE)
        return canvas.pixels[self._bottom :]
