"""Voxels as a header describes them: in one file or several, plain, packed or as text."""

from __future__ import annotations

import bz2
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from volseg.conversion.image_files.grey_values import check_scaling, grey_values, label_values
from volseg.conversion.image_files.volume import ImageVolume
from volseg.errors import ImageError
from volseg.files.documents import MOST_BYTES, check_regular, open_regular
from volseg.images.grid import Grid
from volseg.memory import require
from volseg.words import reason

Encoding = Literal["raw", "deflate", "bzip2", "text"]

_PIECE = 2**20
# Highest compression ratios of the methods.
_MOST_PACKED = {"raw": 1, "deflate": 1032, "bzip2": 10_000_000, "text": 8}
#: Most voxels along an axis, as in a NIfTI header, into which they are converted.
_MOST_VOXELS = 32767
_COPY_AGAIN = "copy or export it again"


@dataclass(frozen=True)
class Part:
    """A file of voxels, and the bytes before its first voxel; None: as many as are left over."""

    path: Path
    start: int | None = 0


@dataclass(frozen=True)
class Stored:
    """Stored voxels of a volume.

    Attributes:
        where: Name of the volume in errors.
        parts: Files, each with an equal share of the voxels, in order.
        shape: (I, J, K); I changes fastest in the files.
        dtype: Type of the voxels in the files.
        encoding: How the voxels are packed.
        slope: Factor from stored values to grey values.
        intercept: Summand after that.
    """

    where: str
    parts: tuple[Part, ...]
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    encoding: Encoding = "raw"
    slope: float = 1
    intercept: float = 0

    def volume(
        self, header: Path, grid: Grid, notes: Sequence[str], *, is_label: bool = False
    ) -> ImageVolume:
        """The volume of these voxels and of a header; errors as in `check`."""
        self.check()
        files = dict.fromkeys((header, *(part.path for part in self.parts)))
        return ImageVolume(tuple(files), grid, self.load, self.load_labels, tuple(notes), is_label)

    def check(self) -> None:
        """Compare the sizes of the files with the header, without reading voxels.

        Raises:
            ImageError: If a file is missing or its size is impossible, or the header names an
                impossible number of voxels or impossible scaling.
        """
        check_scaling(self.slope, self.intercept, self.where)
        if not all(1 <= size <= _MOST_VOXELS for size in self.shape):
            raise ImageError(
                f"{self.where} has {' x '.join(map(str, self.shape))} voxels, but 1 to "
                f"{_MOST_VOXELS} along each axis are expected",
                remedy="correct its header, or export it again",
            )
        if len(self.parts) not in {1, self.shape[2]}:
            raise ImageError(
                f"{self.where} names {len(self.parts)} files of voxels, but its header announces "
                f"{self.shape[2]} slices",
                remedy="copy the missing slices too, or export it again",
            )
        for part in self.parts:
            held = self._held(part)
            if held * _MOST_PACKED[self.encoding] < self._part_bytes:
                raise self._truncated(part, held)
            if self.encoding == "raw" and held > self._part_bytes:
                raise self._too_long(part, f"{held} bytes")

    def load(self) -> npt.NDArray[Any]:
        """Grey values (I, J, K); errors as in `check`, `read` and `grey_values`."""
        return grey_values(self.read(), self.slope, self.intercept, self.where)

    def load_labels(self) -> npt.NDArray[np.uint8]:
        """Labels (I, J, K); errors as in `check`, `read` and `label_values`."""
        return label_values(self.read(), self.slope, self.intercept, self.where)

    def read(self) -> npt.NDArray[Any]:
        """Stored voxels (I, J, K), in native byte order.

        Raises:
            ImageError: If a file has changed since `check`, or is damaged, too short or too long.
            ResourceError: If memory is too small.
        """
        self.check()
        # The voxels, their scaled values and a copy.
        require(math.prod(self.shape) * (self.dtype.itemsize + 16), self.where)
        flat = np.empty(math.prod(self.shape), self.dtype)
        share = self._part_bytes // self.dtype.itemsize
        for number, part in enumerate(self.parts):
            target = flat[number * share : (number + 1) * share]
            try:
                self._fill(part, target)
            except (OSError, EOFError, ValueError, zlib.error) as error:
                raise ImageError(
                    f"{part.path} is damaged or cannot be read ({reason(error)})",
                    remedy=_COPY_AGAIN,
                ) from None
        native = flat.astype(flat.dtype.newbyteorder("="), copy=False)
        return native.reshape(self.shape, order="F")

    @property
    def _part_bytes(self) -> int:
        """Bytes of the voxels in each file, when unpacked."""
        return math.prod(self.shape) // len(self.parts) * self.dtype.itemsize

    def _held(self, part: Part) -> int:
        """Bytes of voxels in a file, perhaps packed."""
        try:
            size = check_regular(part.path)
        except FileNotFoundError:
            raise ImageError(
                f"{self.where} has its voxels in {part.path.name}, which does not exist",
                remedy="copy that file too, into the same folder",
            ) from None
        except OSError as error:
            raise ImageError(
                f"{part.path} cannot be read ({reason(error)})",
                remedy="give a file that you may read",
            ) from None
        if part.start is None:
            return self._part_bytes if size >= self._part_bytes else size
        return max(0, size - part.start)

    def _fill(self, part: Part, target: npt.NDArray[Any]) -> None:
        view = memoryview(target.view(np.uint8))  # type: ignore[arg-type]
        with open_regular(part.path) as file:
            start = part.start
            file.seek(check_regular(part.path) - len(view) if start is None else start)
            if self.encoding == "text":
                _fill_with_text(file, target)
                return
            held = 0
            for piece in _unpacked(file, self.encoding):
                if held + len(piece) > len(view):
                    raise self._too_long(part, f"more than {len(view)} bytes")
                view[held : held + len(piece)] = piece
                held += len(piece)
        if held < len(view):
            raise self._truncated(part, held)

    def _truncated(self, part: Part, held: int) -> ImageError:
        return ImageError(
            f"{part.path} is truncated: it holds {held} bytes of voxels, but the header announces "
            f"{self._part_bytes}",
            remedy="copy it again",
        )

    def _too_long(self, part: Part, held: str) -> ImageError:
        return ImageError(
            f"{part.path} holds {held} of voxels, but the header announces {self._part_bytes}",
            remedy="correct the header, or export it again",
        )


def _unpacked(file: BinaryIO, encoding: Encoding) -> Iterator[bytes]:
    """Bytes of the voxels in pieces; EOFError if a packed file ends too early."""
    if encoding == "bzip2":
        with bz2.open(file) as stream:
            yield from iter(lambda: stream.read(_PIECE), b"")
        return
    pieces = iter(lambda: file.read(_PIECE), b"")
    if encoding == "raw":
        yield from pieces
        return
    engine = zlib.decompressobj(32 + zlib.MAX_WBITS)  # zlib or gzip, by the first bytes
    for piece in pieces:
        left = piece
        while left and not engine.eof:
            yield engine.decompress(left, _PIECE)
            left = engine.unconsumed_tail
        if engine.eof:
            return
    raise EOFError("its packed voxels end too early")


def _fill_with_text(file: BinaryIO, target: npt.NDArray[Any]) -> None:
    """Fill with numbers from text; ValueError if there are more or fewer, or no numbers."""
    numbers = file.read(MOST_BYTES + 1).split()
    if len(numbers) != target.size:
        raise ValueError(f"{len(numbers)} numbers, but {target.size} are expected")
    values = np.array(numbers, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        target[...] = values.astype(target.dtype)
    if target.dtype.kind in "iu" and not np.array_equal(target, values):
        raise ValueError(f"{values[target != values][0]:g} is no value of type {target.dtype}")
