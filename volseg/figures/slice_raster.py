"""A slice as an array of pixels, drawn in milliseconds without a figure, for animations."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from contourpy import contour_generator
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as Line
from matplotlib.transforms import Affine2D
from PIL import Image

from volseg import DISCLAIMER
from volseg.figures.case_view import Box, CaseView
from volseg.figures.colours import region_colours
from volseg.figures.looks import Look, filling
from volseg.figures.slice_panel import flat_slice, grey_window
from volseg.labels import Masks

Pixels = npt.NDArray[np.uint8]

# With this resolution, a point is a pixel.
_DPI = 72
_TEXT_PIXELS, _NOTE_PIXELS, _ROW_PIXELS = 10, 8, 13
_MARGIN_PIXELS = 3
# Width of the longest row of words.
_WORDS_PIXELS = 172
_LINE_PIXELS, _DASHES = 1.3, (4.0, 3.0)
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
    size: tuple[int, int]
    look: Look = field(default_factory=Look)

    def draw(self, index: int) -> Pixels:
        """RGB array (rows, columns, 3) of a slice, by its index along the third axis."""
        renderer = self._new_renderer()
        canvas = np.asarray(renderer.buffer_rgba())
        canvas[...] = (0, 0, 0, 255)
        image = canvas[: self.size[1], self._left :, :3][:, : self.size[0]]
        image[...] = self._grey(index)[..., None]
        if self.look.fill and self.view.filled:
            self._fill(image, self.view.filled, index)
        for masks, style in self.view.masks:
            for region, mask in masks.items() if self.look.outline else ():
                self._outline(renderer, flat_slice(mask, index, self.box), region, style)
        if self.look.words:
            _write(renderer, self.view.slice_name(index), self._row(1))
            visible, colour, opacity = self._words
            canvas[..., :3][visible] = canvas[..., :3][visible] * (1 - opacity) + colour * opacity
        return canvas[..., :3].copy()

    @cached_property
    def colours(self) -> dict[str, str]:
        """Colour by region."""
        return region_colours(region for masks, _ in self.view.masks for region in masks)

    @cached_property
    def _window(self) -> tuple[float, float]:
        return grey_window(self.view.images[self.channel])

    @property
    def _notes(self) -> list[tuple[str, int]]:
        """Rows of words below the name of the slice, with the size of their letters."""
        both = all(masks for masks, _ in self.view.masks)
        styles = [("dashed: reference, solid: prediction", _NOTE_PIXELS)] if both else []
        return [*styles, (DISCLAIMER, _NOTE_PIXELS)]

    def _row(self, number: int) -> tuple[int, int]:
        """Where the words of a row below the image begin."""
        return _MARGIN_PIXELS, self.size[1] + number * _ROW_PIXELS - _MARGIN_PIXELS

    def _new_renderer(self) -> RendererAgg:
        words = (1 + len(self._notes)) * _ROW_PIXELS + 1 if self.look.words else 0
        return RendererAgg(self.size[0] + 2 * self._left, self.size[1] + words, _DPI)

    @property
    def _left(self) -> int:
        """Width of the margins on both sides, which a narrow image needs for the words below it."""
        return max(0, (_WORDS_PIXELS - self.size[0] + 1) // 2) if self.look.words else 0

    def _grey(self, index: int) -> Pixels:
        low, high = self._window
        flat = flat_slice(self.view.images[self.channel], index, self.box).astype(np.float32)
        grey = np.clip((flat - low) * (255 / (high - low)), 0, 255)
        # A normalised image has negative voxels, so its background, 0, would be grey.
        return self._enlarged(np.where(flat == 0, 0, grey))

    def _fill(self, image: Pixels, masks: Masks, index: int) -> None:
        flat = {region: flat_slice(mask, index, self.box) for region, mask in masks.items()}
        layer = filling(flat, self.colours, self.look.fill) * 255
        layer[..., :3] *= layer[..., 3:] / 255
        red, green, blue, opacity = (self._enlarged(layer[..., part]) for part in range(4))
        share = 1 - opacity[..., None] / np.float32(255)
        image[...] = np.minimum(image * share + np.stack([red, green, blue], -1), 255)

    def _enlarged(self, plane: npt.NDArray[np.floating]) -> Pixels:
        picture = Image.fromarray(plane.astype(np.uint8))
        return np.asarray(picture.resize(self.size, Image.Resampling.BICUBIC))

    def _outline(
        self, renderer: RendererAgg, mask: npt.NDArray[np.bool_], region: str, style: str
    ) -> None:
        if not mask.any():
            return
        gc = renderer.new_gc()
        gc.set_foreground(self.colours[region])
        gc.set_alpha(self.look.outline)
        gc.set_linewidth(_LINE_PIXELS)
        if style == "dashed":
            gc.set_dashes(0, _DASHES)
        (columns, rows), (height, width) = self.size, mask.shape
        # Padding closes outlines at the border; it moves the centre of the first voxel to 1.
        place = (
            Affine2D()
            .translate(-0.5, -0.5)
            .scale(columns / width, -rows / height)
            .translate(self._left, renderer.height)
        )
        padded = np.pad(mask, 1).astype(np.float32)
        for line in contour_generator(z=padded).lines(0.5):
            renderer.draw_path(gc, Line(np.asarray(line)), place)

    @cached_property
    def _words(self) -> tuple[tuple[npt.NDArray[np.intp], ...], Pixels, npt.NDArray[np.floating]]:
        """Words that are the same in all slices: their pixels, colours (N, 3) and opacity."""
        renderer = self._new_renderer()
        columns, rows = self.size[0] + 2 * self._left, self.size[1]
        edges = {
            "left": (_MARGIN_PIXELS, rows // 2),
            "right": (columns - _MARGIN_PIXELS - 7, rows // 2),
            "top": (columns // 2, _ROW_PIXELS),
            "bottom": (columns // 2, rows - _MARGIN_PIXELS),
        }
        for edge, letter in self.view.sides.items():
            _write(renderer, letter, edges[edge])
        right, (_, row) = columns, self._row(1)
        for region, colour in reversed(self.colours.items()):
            right -= _width(renderer, region) + 2 * _MARGIN_PIXELS
            _write(renderer, region, (right, row), colour)
        for number, (words, size) in enumerate(self._notes, start=2):
            _write(renderer, words, self._row(number), _PALE, size)
        drawn = np.asarray(renderer.buffer_rgba())
        visible = np.nonzero(drawn[..., 3])
        opacity = drawn[visible][:, 3:] / np.float32(255)
        return visible, drawn[visible][:, :3], opacity


def _write(
    renderer: RendererAgg,
    words: str,
    place: tuple[int, int],
    colour: str = "white",
    pixels: int = _TEXT_PIXELS,
) -> None:
    """Write words whose base line begins at a place, counted from the left and the top."""
    gc = renderer.new_gc()
    gc.set_foreground(colour)
    renderer.draw_text(gc, *place, words, FontProperties(size=pixels), 0)


def _width(renderer: RendererAgg, words: str) -> int:
    """Width of words, in pixels."""
    font = FontProperties(size=_TEXT_PIXELS)
    return round(renderer.get_text_width_height_descent(words, font, ismath=False)[0])
