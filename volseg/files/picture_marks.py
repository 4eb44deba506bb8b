"""Marks of volseg in the metadata of pictures, by which `files.ownership` recognises them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volseg.files.documents import MOST_BYTES, open_regular

if TYPE_CHECKING:
    from PIL.Image import Exif

#: Name of the drawing program in the metadata of pictures.
PICTURE_SOFTWARE = "volseg"
#: Comment of a GIF.
GIF_COMMENT = PICTURE_SOFTWARE.encode()

_EXIF_SOFTWARE = 305
_IN_TEXT = {
    ".svg": re.compile(rb"<dc:creator>\s*<cc:Agent>\s*<dc:title>volseg</dc:title>"),
    ".pdf": re.compile(rb"/Creator \(volseg\)"),
}
#: Endings of names of pictures whose mark `has_mark` reads.
MARKED = (".gif", ".webp", ".jpg", ".jpeg", *_IN_TEXT)


def exif_mark() -> Exif:
    """EXIF data of a WebP or JPEG picture that names volseg."""
    from PIL.Image import Exif

    exif = Exif()
    exif[_EXIF_SOFTWARE] = PICTURE_SOFTWARE
    return exif


def saving_options(ending: str) -> dict[str, Any]:
    """Options of matplotlib's `savefig` that mark a picture with this ending, such as `.svg`."""
    if ending == ".png":
        return {"metadata": {"Software": PICTURE_SOFTWARE}}
    if ending in {".jpg", ".jpeg"}:
        return {"pil_kwargs": {"exif": exif_mark(), "quality": 92}}
    # Without dates, so that equal pictures are equal files.
    date = "Date" if ending == ".svg" else "CreationDate"
    return {"metadata": {"Creator": PICTURE_SOFTWARE, date: None}}


def has_mark(path: Path) -> bool:
    """Whether a picture of one of the kinds `MARKED` names volseg as its program.

    Raises:
        OSError: If the file cannot be read or is no such picture.
    """
    if pattern := _IN_TEXT.get(path.suffix.lower()):
        with open_regular(path) as file:
            return pattern.search(file.read(MOST_BYTES)) is not None
    from PIL import Image

    with open_regular(path) as file, Image.open(file, formats=("GIF", "WEBP", "JPEG")) as picture:
        if picture.format == "GIF":
            return picture.info.get("comment") == GIF_COMMENT
        return picture.getexif().get(_EXIF_SOFTWARE) == PICTURE_SOFTWARE
