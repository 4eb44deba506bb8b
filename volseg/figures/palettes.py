"""Palettes of pictures with 256 colours."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

# Opacities of a colour, and greys below it, as at the edge of a line.
_OPACITIES, _GROUNDS = (0.3, 0.55, 0.8, 1.0), (0, 90, 180, 255)


def reduced(picture: Image.Image, palette: Image.Image) -> Image.Image:
    """An RGB picture in the nearest colours of a palette; see `palette_of`."""
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def palette_of(colours: Iterable[str], greys: int) -> Image.Image:
    """Image whose palette has greys, and colours of lines and areas mixed with greys.

    A palette found in the picture would lack the colours of thin lines.
    """
    entries = [(grey, grey, grey) for grey in np.linspace(0, 255, greys)]
    for colour in colours:
        pure = np.array(to_rgb(colour)) * 255
        entries += [
            tuple(pure * opacity + ground * (1 - opacity))
            for opacity in _OPACITIES
            for ground in _GROUNDS
        ]
    image = Image.new("P", (1, 1))
    image.putpalette(np.rint(entries[:256]).astype(np.uint8).tobytes())
    return image
