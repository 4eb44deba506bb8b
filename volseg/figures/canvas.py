"""A picture of many slices, drawn in milliseconds without a figure of matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from contourpy import contour_generator
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgb
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as Line
from matplotlib.transforms import Affine2D
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from volseg.figures.case_view import Box, CaseView
from volseg.figures.slice_panel import flat_slice
from volseg.files.picture_marks import PICTURE_SOFTWARE
from volseg.files.writing import atomic_write

Place = tuple[int, int]

# With this resolution, a point is a pixel.
_DPI = 72
_LINE_PIXELS, _WIDER_PIXELS = 1.4, 0.6
_GREYS, _MIXES, _GROUNDS = 128, (0.3, 0.55, 0.8, 1.0), (0, 90, 180, 255)
_COMPRESSION = 5


class Canvas:
    """A black picture to draw slices and words on.

    Args:
        columns: Width in pixels.
        rows: Height in pixels.
        colours: Colour by region.
    """

    def __init__(self, columns: int, rows: int, colours: Mapping[str, str]) -> None:
        self.size, self.colours = (columns, rows), dict(colours)
        self._renderer = RendererAgg(columns, rows, _DPI)
        self._pixels = np.asarray(self._renderer.buffer_rgba())
        self._pixels[...] = (0, 0, 0, 255)

    def slice(
        self, view: CaseView, channel: str, index: int, box: Box, place: Place, size: Place
    ) -> None:
        """Draw a slice of a view with 8-bit greys, and outlines of its predicted regions.

        Args:
            view: The case; see `GreyImages.view`.
            channel: Channel to show.
            index: Slice along the third axis.
            box: Part of the slice to show.
            place: Column and row of its upper left corner.
            size: Its columns and rows.
        """
        flat = np.ascontiguousarray(flat_slice(view.images[channel], index, box))
        grey = Image.fromarray(flat).resize(size, Image.Resampling.BICUBIC)
        self.image(np.asarray(grey)[..., None], place)
        masks = view.prediction or {}
        for number, (region, mask) in enumerate(masks.items(), start=1):
            # Where outlines coincide, the inner one lies on a wider one.
            width = _LINE_PIXELS + _WIDER_PIXELS * (len(masks) - number)
            flat = flat_slice(mask, index, box)
            self._outline(flat, (place, size), self.colours[region], width)

    def image(self, pixels: npt.NDArray[np.uint8], place: Place) -> None:
        """Put an image (rows, columns, 1 or 3) with its upper left corner at a place."""
        (left, top), (rows, columns) = place, pixels.shape[:2]
        self._pixels[top : top + rows, left : left + columns, :3] = pixels

    def line(self, place: Place, columns: int, colour: str) -> None:
        """Draw a horizontal line from a place."""
        rows = slice(place[1] - 1, place[1] + 1)
        self._pixels[rows, place[0] : place[0] + columns, :3] = np.array(to_rgb(colour)) * 255

    def write(
        self, words: str, place: Place, pixels: int, colour: str = "white", share: float = 0.0
    ) -> None:
        """Write words on a base line.

        Args:
            words: A line of text.
            place: Column and row of the beginning of the base line.
            pixels: Size of the letters.
            colour: Their colour.
            share: Share of the width of the words that is left of the place.
        """
        gc = self._renderer.new_gc()
        gc.set_foreground(colour)
        left = place[0] - round(share * self.width(words, pixels))
        self._renderer.draw_text(gc, left, place[1], words, FontProperties(size=pixels), 0)

    def width(self, words: str, pixels: int) -> int:
        """Width of words, in pixels."""
        font = FontProperties(size=pixels)
        return round(self._renderer.get_text_width_height_descent(words, font, ismath=False)[0])

    def fitting(self, words: str, pixels: int, width: int) -> str:
        """The words, or their beginning if they are wider than `width` pixels."""
        while self.width(words, pixels) > width and len(words) > 1:
            words = words[: -2 if words.endswith("…") else -1] + "…"
        return words

    def _outline(
        self, mask: npt.NDArray[np.bool_], where: tuple[Place, Place], colour: str, width: float
    ) -> None:
        if not mask.any():
            return
        gc = self._renderer.new_gc()
        gc.set_foreground(colour)
        gc.set_linewidth(width)
        place, size = where
        # Padding closes outlines at the border; it moves the centre of the first voxel to 1.
        to_pixels = (
            Affine2D()
            .translate(-0.5, -0.5)
            .scale(size[0] / mask.shape[1], -size[1] / mask.shape[0])
            .translate(place[0], self.size[1] - place[1])
        )
        padded = np.pad(mask, 1).astype(np.float32)
        for line in contour_generator(z=padded).lines(0.5):
            self._renderer.draw_path(gc, Line(np.asarray(line)), to_pixels)

    def save(self, path: Path, about: Mapping[str, str] | None = None) -> None:
        """Write the picture as a PNG of 256 colours, whole or not at all.

        Args:
            path: File to write.
            about: More texts for the metadata of the file, by keyword.

        Raises:
            OutputError: If the file cannot be written, or volseg did not write the file in its
                place.
        """
        picture = Image.fromarray(np.ascontiguousarray(self._pixels[..., :3]))
        reduced = picture.quantize(palette=self._palette(), dither=Image.Dither.NONE)
        texts = PngInfo()
        for keyword, text in {"Software": PICTURE_SOFTWARE, **(about or {})}.items():
            texts.add_text(keyword, text)
        with atomic_write(path) as temporary:
            reduced.save(temporary, "PNG", pnginfo=texts, compress_level=_COMPRESSION)

    def _palette(self) -> Image.Image:
        """Image with a palette of greys, and of the colours of regions mixed with greys."""
        entries = [(grey, grey, grey) for grey in np.linspace(0, 255, _GREYS)]
        for colour in self.colours.values():
            pure = np.array(to_rgb(colour)) * 255
            entries += [
                tuple(pure * mix + ground * (1 - mix)) for mix in _MIXES for ground in _GROUNDS
            ]
        image = Image.new("P", (1, 1))
        image.putpalette(np.rint(entries[:256]).astype(np.uint8).tobytes())
        return image
