"""Output of figures, as arrays and as files."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import ExifTags, Image

from volseg.files.picture_marks import PICTURE_SOFTWARE
from volseg.files.writing import atomic_write

logger = logging.getLogger(__name__)

_JPEG_QUALITY = 92


@contextlib.contextmanager
def placeholders() -> Iterator[None]:
    """No warning of characters that the font lacks, such as Chinese: a box stands for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from", UserWarning)
        yield


@placeholders()
def figure_array(figure: Figure) -> npt.NDArray[np.uint8]:
    """RGB array (H, W, 3) of the drawn figure, 0 to 255."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


@placeholders()
def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure, whole or not at all; the format follows the name: .png, .jpg, .svg, .pdf.

    Raises:
        OutputError: If the file cannot be written.
    """
    FigureCanvasAgg(figure)
    with atomic_write(path) as temporary:
        ending = path.suffix.lower()
        colour = figure.get_facecolor()
        figure.savefig(temporary, format=ending[1:], facecolor=colour, **_marked(ending))


def _marked(ending: str) -> dict[str, Any]:
    """Options of `savefig` that name volseg in a picture with this ending, such as `.svg`."""
    if ending == ".png":
        return {"metadata": {"Software": PICTURE_SOFTWARE}}
    if ending in {".jpg", ".jpeg"}:
        return {"pil_kwargs": {"exif": exif_mark(), "quality": _JPEG_QUALITY}}
    # Without dates, so that equal pictures are equal files.
    date = "Date" if ending == ".svg" else "CreationDate"
    return {"metadata": {"Creator": PICTURE_SOFTWARE, date: None}}


def exif_mark() -> Image.Exif:
    """EXIF data of a JPEG or WebP picture that name volseg."""
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = PICTURE_SOFTWARE
    return exif


@contextlib.contextmanager
def optional_picture(path: Path) -> Iterator[None]:
    """Log any error of this block, which draws `path`: no run may fail because of a picture."""
    try:
        yield
    except Exception as error:
        logger.warning("%s was not drawn: %s", path, error)
