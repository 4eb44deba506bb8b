"""A NIfTI file as a stream of bytes, decompressed if it is a gzip, whatever its name."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from isal import igzip, igzip_lib

from volseg.errors import ImageError
from volseg.files.documents import open_regular
from volseg.words import reason

# Any, since the stubs of isal declare its error as an instance.
_DAMAGED: Any = (EOFError, igzip_lib.IsalError, gzip.BadGzipFile)
#: Bytes that are decompressed at a time.
PIECE = 2**20
#: Most bytes before the voxels, in extensions, and after them.
SLACK = 16 * 2**20


@contextlib.contextmanager
def opened(path: Path, where: str) -> Iterator[BinaryIO]:
    """A file as a stream; decompressed if it is a gzip, whatever its name."""
    try:
        with open_regular(path) as file:
            is_packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if is_packed:
                with igzip.open(file) as stream:
                    yield stream
            else:
                yield file
    except FileNotFoundError:
        raise ImageError(
            f"{where} does not exist", remedy="correct the path or the data list"
        ) from None
    except _DAMAGED as error:
        raise ImageError(
            f"{where} is a truncated or damaged gzip file ({error})",
            remedy="copy or download it again",
        ) from None
    except OSError as error:
        raise ImageError(
            f"{where} cannot be read ({reason(error)})", remedy="give a file that you may read"
        ) from None


def read_to_end(stream: BinaryIO, where: str) -> None:
    """Read the bytes after the voxels, since the checksum of a gzip is at its end."""
    left = 0
    while left <= SLACK and (piece := stream.read(PIECE)):
        left += len(piece)
    if left > SLACK:
        raise ImageError(
            f"{where} holds more than {SLACK} bytes after the voxels that its header announces",
            remedy="convert the image again",
        )
