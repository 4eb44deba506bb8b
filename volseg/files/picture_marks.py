"""Marks of volseg in the metadata of pictures, by which `files.ownership` recognises them."""

from __future__ import annotations

import re
from pathlib import Path

from volseg.files.documents import open_regular

#: Name of the drawing program in the metadata of pictures.
PICTURE_SOFTWARE = "volseg"

_EDGE_BYTES = 4096
_JPEG = rb"\A\xff\xd8\xff.{,40}Exif\x00\x00.{,60}volseg\x00"
# Marks in the first bytes of a file and its last bytes, put together.
_MARKS = {
    ".gif": rb"\AGIF89a.*!\xfe\x06volseg\x00",
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".pdf": rb"\A%PDF.*/Creator \(volseg\)",
    ".svg": rb"<dc:creator>\s*<cc:Agent>\s*<dc:title>volseg</dc:title>",
    ".webp": rb"\ARIFF.{4}WEBP.*EXIF.{,80}volseg\x00",
}
#: Endings of names of pictures whose mark `has_mark` reads.
MARKED = tuple(_MARKS)


def has_mark(path: Path) -> bool:
    """Whether a picture of one of the kinds `MARKED` names volseg as its program.

    Raises:
        OSError: If the file cannot be read.
    """
    with open_regular(path) as file:
        edges = file.read(_EDGE_BYTES)
        file.seek(max(file.tell(), file.seek(0, 2) - _EDGE_BYTES))
        edges += file.read()
    return re.search(_MARKS[path.suffix.lower()], edges, re.DOTALL) is not None
