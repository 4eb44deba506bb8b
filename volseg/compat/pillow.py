"""Parts of Pillow that it does not document; seen in 13.0."""

from __future__ import annotations

from PIL import Image


def raw_mode(image: Image.Image) -> str:
    """How Pillow calls what is stored in an image that was opened and not yet loaded."""
    tiles = getattr(image, "tile", ())
    arguments = tiles[0].args if tiles else image.mode
    return str(arguments if isinstance(arguments, str) else arguments[0])
