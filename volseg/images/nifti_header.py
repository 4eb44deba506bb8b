"""NIfTI files up to their voxels: gzip or not, the header, what it says of shape, type and grid."""

from __future__ import annotations

import contextlib
import gzip
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip, igzip_lib
from nibabel.spatialimages import HeaderDataError

from volseg.errors import ImageError
from volseg.files.documents import open_regular
from volseg.images.grid import Grid
from volseg.images.nifti_geometry import check_fields, check_spacing, grid_of
from volseg.memory import require
from volseg.words import reason

_HEADER_CLASSES: Mapping[int, Any] = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
# Any, since the stubs of isal declare its error as an instance.
_DAMAGED: Any = (EOFError, igzip_lib.IsalError, gzip.BadGzipFile)
_PIECE = 2**20
# Of deflate, the way in which a gzip packs.
_HIGHEST_RATIO = 1032
# Bytes that may stand before the voxels, in extensions, and after them.
_SLACK = 16 * 2**20


@dataclass(frozen=True, eq=False)
class Stored:
    """A file of which the header is known.

    Attributes:
        path: The file.
        where: Names it in errors.
        header: As found, bit by bit.
        shape: (I, J, K, N).
        dtype: Of the voxels in the file.
        grid: Of its first three axes.
    """

    path: Path
    where: str
    header: Any
    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    grid: Grid

    @property
    def is_plain(self) -> bool:
        """Whether what is stored is the grey values."""
        return self.scaling == (1.0, 0.0)

    @property
    def scaling(self) -> tuple[float, float]:
        """Slope and intercept that make grey values of what is stored."""
        slope, intercept = self.header.get_slope_inter()
        return float(slope or 1), float(intercept or 0)

    @property
    def value_dtype(self) -> np.dtype[Any]:
        """Type of the grey values: integers as stored, else float32."""
        if self.is_plain and self.dtype.kind != "f":
            return self.dtype.newbyteorder("=")
        return np.dtype(np.float32)

    @property
    def read_bytes(self) -> int:
        """Bytes that `read` and the `values` of one volume take together, with a copy of each."""
        voxels = math.prod(self.shape[:3])
        return voxels * (self.shape[3] * self.dtype.itemsize + 2 * self.value_dtype.itemsize)

    def read_into(self, target: npt.NDArray[Any]) -> None:
        """Fill a contiguous array, of the type in the file but for the order of bytes.

        Raises:
            ImageError: If the file is damaged or too short.
        """
        start = _start(self.header, self.where)
        view: Any = memoryview(target.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
        with _opened(self.path, self.where) as stream:
            held = len(stream.read(start))
            # In pieces: the stream unpacks what is asked for at once into memory of its own.
            while start <= held < start + len(view):
                piece = view[held - start :][:_PIECE]
                found = stream.readinto(piece)  # type: ignore[attr-defined]
                if not found:
                    break
                held += found
            _read_to_end(stream, self.where)
        _check_length(held, start + len(view), self.where)
        if not self.dtype.isnative:
            target.byteswap(inplace=True)

    def read(self) -> npt.NDArray[Any]:
        """Voxels (N, K, J, I) as stored; ResourceError if there is no memory for them."""
        require(self.read_bytes, self.where)
        voxels = np.empty(self.shape[::-1], self.dtype.newbyteorder("="))
        self.read_into(voxels)
        return voxels

    def values(self, voxels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Grey values of stored ones."""
        if self.is_plain and voxels.dtype == self.value_dtype:
            return voxels
        slope, intercept = self.scaling
        # Too large for float32 becomes infinite, and is refused.
        with np.errstate(over="ignore", invalid="ignore"):
            values = voxels.astype(np.float32)
            if not self.is_plain:
                values = values * np.float32(slope) + np.float32(intercept)
        return values


def look(path: Path, where: str, volumes: int) -> Stored:
    """Header of a file that must hold so many volumes of numbers; `where` names it in errors.

    Raises:
        ImageError: If it is missing, damaged, no NIfTI or of another kind.
    """
    header = read_raw_header(path, where)
    shape, dtype = _check_stored(header, where, volumes)
    i, j, k = shape[:3]
    with _opened(path, where) as stream:
        is_packed = isinstance(stream, igzip.IGzipFile)
        size = os.fstat(stream.fileno()).st_size
    # Nothing is larger than this unpacked, and what cannot be there needs no memory.
    most = size * (_HIGHEST_RATIO if is_packed else 1)
    _check_length(most, _start(header, where) + math.prod(shape) * dtype.itemsize, where)
    grid = grid_of(header, where)
    check_spacing(grid, header, where)
    return Stored(path, where, header, (i, j, k, volumes), dtype, grid)


def read_first_slice(path: Path, where: str, volumes: int) -> npt.NDArray[Any]:
    """Grey values (J, I) of the first slice of a file; what is behind it is not unpacked.

    Args:
        path: The file.
        where: Names it in errors.
        volumes: What it must hold.

    Raises:
        ImageError: If it is missing, damaged, no NIfTI or of another kind.
    """
    with _opened(path, where) as stream:
        content = stream.read(max(_HEADER_CLASSES))
        header = _header(content, where)
        shape, dtype = _check_stored(header, where, volumes)
        i, j, k = shape[:3]
        start, size = _start(header, where), i * j
        end = start + size * dtype.itemsize
        if end > _SLACK:  # else it is not worth asking
            require(4 * end, where)
        content += stream.read(max(0, end - len(content)))
    _check_length(len(content), end, where)
    voxels = np.frombuffer(content, dtype, size, start).reshape(j, i)
    file = Stored(path, where, header, (i, j, k, volumes), dtype, grid_of(header, where))
    return file.values(voxels.astype(dtype.newbyteorder("="), copy=False))


def _start(header: Any, where: str) -> int:
    """Bytes before the first voxel; ImageError if the header gives a number that cannot be."""
    given, least = float(header["vox_offset"]), int(header.single_vox_offset)
    if given == 0:
        return least
    if not (least <= given <= _SLACK and given.is_integer()):
        raise ImageError(
            f"{where} says that its voxels begin at byte {given:g}, but a whole number from "
            f"{least} to {_SLACK} is expected",
            remedy="convert the image again",
        )
    return int(given)


def _read_to_end(stream: BinaryIO, where: str) -> None:
    """Read what stands after the voxels, since a gzip has its checksum at its end."""
    left = 0
    while left <= _SLACK and (piece := stream.read(_PIECE)):
        left += len(piece)
    if left > _SLACK:
        raise ImageError(
            f"{where} holds more than {_SLACK} bytes after the voxels that its header announces",
            remedy="convert the image again",
        )


def _check_length(held: int, announced: int, where: str) -> None:
    if held < announced:
        raise ImageError(
            f"{where} is truncated: it holds {held} bytes, but its header announces {announced}",
            remedy="copy or download it again",
        )


def read_raw_header(path: Path, where: str) -> Any:
    """Header of a file, bit by bit as it is; ImageError if it has none."""
    with _opened(path, where) as stream:
        content = stream.read(max(_HEADER_CLASSES))
    return _header(content, where)


def _check_stored(header: Any, where: str, volumes: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of what a file holds: so many volumes of numbers."""
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    found = [size for size in shape[3:] if size != 1] or [1]
    if len(shape) < 3 or min(shape) < 1 or found != [volumes]:
        needed = f"{volumes} volumes of 3 axes" if volumes > 1 else "one volume of 3 axes"
        raise ImageError(
            f"{where} has shape {shape}, but {needed} is expected",
            remedy="give one 3D image for each channel, or one 4D image of all channels",
        )
    if dtype.kind not in "iuf":
        raise ImageError(
            f"{where} holds voxels of type {dtype}, but numbers are expected",
            remedy="export grey values",
        )
    return shape, dtype


@contextlib.contextmanager
def _opened(path: Path, where: str) -> Iterator[BinaryIO]:
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


def _header(content: bytes, where: str) -> Any:
    """The header that a file begins with, bit by bit as it is."""
    for order in ("little", "big"):
        header_class = _HEADER_CLASSES.get(int.from_bytes(content[:4], order))
        if header_class and len(content) >= header_class.sizeof_hdr:
            header = header_class(content[: header_class.sizeof_hdr], check=False)
            try:
                check_fields(header)
            except (HeaderDataError, ValueError, OverflowError) as error:
                raise ImageError(
                    f"{where} has an invalid NIfTI header ({error})",
                    remedy="convert the image again",
                ) from None
            return header
    raise ImageError(
        f"{where} is not a NIfTI file: it begins with {content[:8]!r}",
        remedy="download it again or convert the image to NIfTI",
    )
