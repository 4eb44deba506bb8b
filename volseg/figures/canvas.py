"""A picture of many slices, drawn in milliseconds without a figure of matplotlib."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from contourpy import LineType, contour_generator
from matplotlib.backend_bases import GraphicsContextBase
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgb
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as Line
from matplotlib.transforms import Affine2D
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from volseg.figures.case_view import Box, CaseView
from volseg.figures.figure_files import placeholders
from volseg.figures.greys import as_greys
from volseg.figures.looks import Look, filling
from volseg.figures.palettes import palette_of, reduced
from volseg.figures.slice_panel import flat_slice
from volseg.files.picture_marks import PICTURE_SOFTWARE
from volseg.files.writing import atomic_write
from volseg.labels import Masks

#: Column and row of a pixel, counted from the left and from the top; or numbers of both.
Place = tuple[int, int]
Pixels = npt.NDArray[np.uint8]

# With this resolution, a point is a pixel.
_DPI = 72
# Where outlines coincide, an inner region lies on wider ones, and the prediction on the reference.
_LINE_PIXELS, _WIDER_PIXELS, _DASHES = 1.4, 0.6, (4.5, 4.0)
_GREYS, _COMPRESSION = 128, 5
# Pixels between a slice and the letters of the sides.
_GAP = 4


@dataclass(frozen=True)
class Frame:
    """Part of the slices of a case, and the pixels of a picture that it fills.

    Attributes:
        box: Part of the case.
        place: Upper left corner in the picture.
        size: Columns and rows.
    """

    box: Box
    place: Place
    size: Place


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

    @property
    def pixels(self) -> Pixels:
        """The picture (rows, columns, RGB), 0 to 255."""
        return np.ascontiguousarray(self._pixels[..., :3])

    def slice(
        self, view: CaseView, channel: str, index: int, frame: Frame, look: Look | None = None
    ) -> None:
        """Draw a slice with its regions: the reference dashed, the prediction solid.

        Args:
            view: The case.
            channel: Channel to show.
            index: Slice along the third axis.
            frame: What to show, and where.
            look: Look of the regions; words are not drawn.
        """
        look = look or Look()
        flat = flat_slice(view.images[channel], index, frame.box)
        image = _enlarged(as_greys(flat, view.window(channel)), frame.size)[..., None]
        if look.fill and view.filled:
            flat_masks = _flat(view.filled, index, frame)
            image = _covered(image, filling(flat_masks, self.colours, look.fill))
        self.image(image, frame.place)
        for masks, style in view.masks if look.outline else ():
            for number, (region, mask) in enumerate(_flat(masks, index, frame).items(), start=1):
                width = _LINE_PIXELS + _WIDER_PIXELS * (len(masks) - number)
                gc = self._pen(self.colours[region])
                gc.set_alpha(look.outline)
                gc.set_linewidth(width + _WIDER_PIXELS * (style == "dashed"))
                if style == "dashed":
                    gc.set_dashes(0, _DASHES)
                self._outline(mask, frame, gc)

    def image(self, pixels: Pixels, place: Place) -> None:
        """Put an image (rows, columns, 1 or 3) with its upper left corner at a place."""
        (left, top), (rows, columns) = place, pixels.shape[:2]
        self._pixels[top : top + rows, left : left + columns, :3] = pixels

    def sides(self, view: CaseView, frame: Frame, pixels: int) -> None:
        """Write the letters of the patient's sides outside the frame of a slice, if known."""
        (left, top), (columns, rows) = frame.place, frame.size
        centre, middle = left + columns // 2, top + rows // 2 + pixels // 3
        places = {
            "left": ((left - _GAP, middle), 1.0),
            "right": ((left + columns + _GAP, middle), 0.0),
            "top": ((centre, top - _GAP), 0.5),
            "bottom": ((centre, top + rows + pixels), 0.5),
        }
        for edge, letter in view.sides.items():
            place, share = places[edge]
            self.write(letter, place, pixels, share=share)

    def line(self, place: Place, columns: int, colour: str) -> None:
        """Draw a horizontal line from a place."""
        rows = slice(place[1] - 1, place[1] + 1)
        self._pixels[rows, place[0] : place[0] + columns, :3] = np.array(to_rgb(colour)) * 255

    @placeholders()
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
        left = place[0] - round(share * self.width(words, pixels)) if share else place[0]
        font = FontProperties(size=pixels)
        self._renderer.draw_text(self._pen(colour), left, place[1], words, font, 0)

    @placeholders()
    def width(self, words: str, pixels: int) -> int:
        """Width of words, in pixels."""
        font = FontProperties(size=pixels)
        return round(self._renderer.get_text_width_height_descent(words, font, ismath=False)[0])

    def fitting(self, words: str, pixels: int, width: int) -> str:
        """The words, or their beginning if they are wider than `width` pixels."""
        if self.width(words, pixels) <= width:
            return words
        # Measuring is slow, so that the end is not moved letter by letter.
        ends = range(1, len(words))
        end = bisect_right(ends, width, key=lambda end: self.width(f"{words[:end]}…", pixels))
        return f"{words[:end]}…"

    def _pen(self, colour: str) -> GraphicsContextBase:
        gc = self._renderer.new_gc()
        gc.set_foreground(colour)
        return gc

    def _outline(self, mask: npt.NDArray[np.bool_], frame: Frame, gc: GraphicsContextBase) -> None:
        if not mask.any():
            return
        (left, top), (columns, rows) = frame.place, frame.size
        # Padding closes outlines at the border; it moves the centre of the first voxel to 1.
        to_pixels = (
            Affine2D()
            .translate(-0.5, -0.5)
            .scale(columns / mask.shape[1], -rows / mask.shape[0])
            .translate(left, self.size[1] - top)
        )
        padded = np.pad(mask, 1).astype(np.float32)
        generator = contour_generator(z=padded, line_type=LineType.ChunkCombinedCode)
        # Of the only chunk, the points of all lines, and what is drawn to each.
        (points,), (codes,) = cast(Any, generator.lines(0.5))
        self._renderer.draw_path(gc, Line(points, codes), to_pixels)

    def save(self, path: Path, about: Mapping[str, str] | None = None) -> None:
        """Write the picture as a PNG of 256 colours, whole or not at all.

        Args:
            path: File to write.
            about: More texts for the metadata of the file, by keyword.

        Raises:
            OutputError: If the file cannot be written, or volseg did not write the file in its
                place.
        """
        palette = palette_of(self.colours.values(), _GREYS)
        picture = reduced(Image.fromarray(self.pixels), palette)
        texts = PngInfo()
        for keyword, text in {"Software": PICTURE_SOFTWARE, **(about or {})}.items():
            texts.add_text(keyword, text)
        with atomic_write(path) as temporary:
            picture.save(temporary, "PNG", pnginfo=texts, compress_level=_COMPRESSION)


def _flat(masks: Masks, index: int, frame: Frame) -> dict[str, npt.NDArray[np.bool_]]:
    return {region: flat_slice(mask, index, frame.box) for region, mask in masks.items()}


def _enlarged(flat: npt.NDArray[np.uint8], size: Place) -> Pixels:
    picture = Image.fromarray(np.ascontiguousarray(flat))
    return np.asarray(picture.resize(size, Image.Resampling.BICUBIC))


def _covered(image: Pixels, layer: npt.NDArray[np.float32]) -> Pixels:
    """An image (rows, columns, 1) below a smaller layer (RGBA, 0 to 1), which is enlarged."""
    layer = layer * 255
    # Colours are enlarged as far as they show.
    layer[..., :3] *= layer[..., 3:] / 255
    rows, columns = image.shape[:2]
    *colours, opacity = (
        _enlarged(layer[..., part].astype(np.uint8), (columns, rows)) for part in range(4)
    )
    share = 1 - opacity[..., None] / np.float32(255)
    return np.minimum(image * share + np.stack(colours, -1), 255).astype(np.uint8)
