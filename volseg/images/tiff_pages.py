"""Pages of a TIFF as the slices of a volume, with their values as stored."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from volseg.errors import ImageError
from volseg.images.bitmap import opened_bitmap
from volseg.memory import require

# Modes of Pillow whose values are those of the file.
_GREY = {"L", "I;16", "I;16B", "I", "F"}
_MOST_PAGES, _MOST_PIXELS = 32767, 2**26
_REMEDY = "save each page as a PNG file, or the whole stack as NIfTI"


def is_tiff(path: Path) -> bool:
    """Whether a file has the name of a TIFF."""
    return path.suffix.casefold() in {".tif", ".tiff"}


def number_of_pages(path: Path, where: str) -> int:
    """Number of pages of an image; errors as in `bitmap.read_form`."""
    with opened_bitmap(path, where) as image:
        return int(getattr(image, "n_frames", 1))


def shape_of_pages(path: Path, where: str) -> tuple[int, int, int]:
    """Columns, rows and pages of a TIFF, without decoding them.

    Raises:
        ImageError: If the file is damaged, or its pages differ in size or are not all of grey
            values.
    """
    with opened_bitmap(path, where) as image:
        return _shape(image, where)


def read_pages(path: Path, where: str) -> npt.NDArray[Any]:
    """Pages (K, rows, columns) of a TIFF; errors as in `shape_of_pages`, and ResourceError."""
    with opened_bitmap(path, where) as image:
        columns, rows, pages = _shape(image, where)
        image.seek(0)
        first = np.asarray(image)
        require(2 * pages * rows * columns * first.dtype.itemsize, where)
        values = np.empty((pages, rows, columns), first.dtype.newbyteorder("="))
        for page in range(pages):
            image.seek(page)
            values[page] = np.asarray(image)
    return values


def _shape(image: Image.Image, where: str) -> tuple[int, int, int]:
    pages = int(getattr(image, "n_frames", 1))
    if pages > _MOST_PAGES or math.prod(image.size) > _MOST_PIXELS:
        raise ImageError(
            f"{where} holds {pages} pages of {image.width} x {image.height} pixels, but at most "
            f"{_MOST_PAGES} pages of {_MOST_PIXELS} pixels are supported",
            remedy="make it smaller, or copy it again",
        )
    first = (image.size, image.mode)
    for page in range(pages):
        image.seek(page)
        if image.mode not in _GREY:
            raise ImageError(
                f"{where} has a page of mode {image.mode}, but grey values are expected",
                remedy=_REMEDY,
            )
        if (image.size, image.mode) != first:
            raise ImageError(
                f"page {page + 1} of {where} is {image.mode} of {image.width} x {image.height} "
                f"pixels, but page 1 is {first[1]} of {first[0][0]} x {first[0][1]}",
                remedy="save pages of one size and kind",
            )
    return image.width, image.height, pages
