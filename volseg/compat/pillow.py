"""Undocumented parts of Pillow; found in 13.0."""

from __future__ import annotations

from PIL import Image


def raw_mode(image: Image.Image) -> str:
    """Pillow's name of the stored values of an image that is opened but not yet loaded."""
    tiles = getattr(image, "tile", ())
    arguments = tiles[0].args if tiles else image.mode
    return str(arguments if isinstance(arguments, str) else arguments[0])
