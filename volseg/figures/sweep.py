"""Animation through the slices of a case, as WebP or GIF."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from volseg.figures.canvas import Pixels
from volseg.figures.case_view import CaseView, box_around
from volseg.figures.figure_files import exif_mark
from volseg.figures.looks import Look
from volseg.figures.palettes import palette_of, reduced
from volseg.figures.slice_raster import SliceRaster
from volseg.files.picture_marks import PICTURE_SOFTWARE
from volseg.files.writing import atomic_write

#: Formats of animations; a file name ends in the format.
Format = Literal["webp", "gif"]
FRAMES_PER_SECOND = 12.0

_LONGEST_SIDE = 512
_MOST_BYTES = 1_000_000
# Pixels of all frames together: as many as the first settings below mostly fit into a file.
_MOST_PIXELS = {"webp": 32_000_000, "gif": 4_500_000}
# Of WebP: the qualities of its pictures, best first, and the effort to make them small.
_QUALITIES, _METHOD = (70, 50, 30, 15), 2
# Of GIF: the numbers of greys, best first.
_GREYS = (40, 24, 14, 8)


def sweep(
    view: CaseView,
    channel: str,
    path: Path,
    look: Look | None = None,
    frames_per_second: float = FRAMES_PER_SECOND,
) -> list[int]:
    """Write an animation through all slices of a case that hold tissue; see `sweep_bytes`.

    Args:
        view: The case, in the plane of the slices.
        channel: Channel to show.
        path: File to write, `.webp` or `.gif`.
        look: Look of the regions.
        frames_per_second: Slices a second.

    Returns:
        Indices of the slices along the third axis.

    Raises:
        OutputError: If the file cannot be written, or volseg did not write the file in its place.
    """
    kind: Format = "gif" if path.suffix.lower() == ".gif" else "webp"
    content, indices = _animation(view, channel, kind, look or Look(), frames_per_second)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return indices


def sweep_bytes(
    view: CaseView,
    channel: str,
    kind: Format = "webp",
    look: Look | None = None,
    frames_per_second: float = FRAMES_PER_SECOND,
) -> bytes:
    """Content of the file that `sweep` writes, of a megabyte at most if its settings
    allow; the last of these are rough.

    The frames show the box around brain and masks, from the first slice to the last along the third
    axis, such as from the lowest; they are as large as the number of slices allows.
    """
    return _animation(view, channel, kind, look or Look(), frames_per_second)[0]


def _animation(
    view: CaseView, channel: str, kind: Format, look: Look, frames_per_second: float
) -> tuple[bytes, list[int]]:
    shown = view.content
    box = box_around(shown)
    indices = np.flatnonzero(shown.any(axis=(0, 1))).tolist() or [shown.shape[2] // 2]
    size = _size(view.height(box), len(indices), kind)
    # The same greys in all slices, found once.
    view = replace(view, windows={channel: view.window(channel)})
    raster = SliceRaster(view, channel, box, size, look)
    frames = [raster.draw(index) for index in indices]
    milliseconds = round(1000 / frames_per_second)
    content = b""
    for quality, greys in zip(_QUALITIES, _GREYS, strict=True):
        if kind == "gif":
            content = _gif(frames, palette_of(raster.colours.values(), greys), milliseconds)
        else:
            content = _webp(frames, quality, milliseconds)
        if len(content) <= _MOST_BYTES:
            break
    return content, indices


def _size(height: float, frames: int, kind: Format) -> tuple[int, int]:
    """Columns and rows of frames with this ratio of height to width.

    >>> _size(2.0, 100, "webp")
    (256, 512)
    """
    most = math.sqrt(_MOST_PIXELS[kind] / frames * max(height, 1 / height))
    longest = min(_LONGEST_SIDE, most)
    columns = longest / max(1.0, height)
    return max(1, round(columns)), max(1, round(columns * height))


def _webp(frames: Sequence[Pixels], quality: int, milliseconds: int) -> bytes:
    first, *others = map(Image.fromarray, frames)
    written = io.BytesIO()
    first.save(
        *(written, "WEBP"),
        save_all=True,
        append_images=others,
        duration=milliseconds,
        loop=0,
        exif=exif_mark(),
        quality=quality,
        method=_METHOD,
    )
    return written.getvalue()


def _gif(frames: Sequence[Pixels], palette: Image.Image, milliseconds: int) -> bytes:
    first, *others = (reduced(Image.fromarray(frame), palette) for frame in frames)
    written = io.BytesIO()
    first.save(
        *(written, "GIF"),
        save_all=True,
        append_images=others,
        duration=milliseconds,
        loop=0,
        comment=PICTURE_SOFTWARE.encode(),
    )
    return written.getvalue()
