"""A NIfTI file: its header at once, its voxels on request."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import igzip

from volseg.errors import ImageError
from volseg.images.grid import Grid
from volseg.images.nifti_geometry import check_spacing, grid_of
from volseg.images.nifti_header import (
    HEADER_BYTES,
    REMEDY_OF_AXES,
    first_byte,
    header_of,
    read_raw_header,
    stored_form,
)
from volseg.images.nifti_stream import PIECE, SLACK, opened, read_to_end
from volseg.memory import require

# Highest compression ratio of deflate, the method of gzip.
_HIGHEST_RATIO = 1032


@dataclass(frozen=True, eq=False)
class NiftiFile:
    """A NIfTI file whose header has been read.

    Attributes:
        path: The file.
        where: Name of the file in errors.
        header: The header, unchanged.
        shape: (I, J, K, N).
        dtype: Type of the voxels in the file.
        grid: Grid of the first three axes.
    """

    path: Path
    where: str
    header: Any
    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    grid: Grid

    @property
    def is_plain(self) -> bool:
        """Whether stored values are the grey values, without scaling."""
        return self.scaling == (1.0, 0.0)

    @property
    def scaling(self) -> tuple[float, float]:
        """Slope and intercept that turn stored values into grey values."""
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
        """Bytes that `read` and the `values` of one volume need together, with a copy of each."""
        voxels = math.prod(self.shape[:3])
        return voxels * (self.shape[3] * self.dtype.itemsize + 2 * self.value_dtype.itemsize)

    def read_into(self, target: npt.NDArray[Any]) -> None:
        """Fill a contiguous array of the file's type, in native byte order.

        Raises:
            ImageError: If the file is damaged or too short.
        """
        start = first_byte(self.header, self.where)
        view: Any = memoryview(target.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
        with opened(self.path, self.where) as stream:
            held = len(stream.read(start))
            # In pieces, since the stream first decompresses each request into its own memory.
            while start <= held < start + len(view):
                piece = view[held - start :][:PIECE]
                found = stream.readinto(piece)  # type: ignore[attr-defined]
                if not found:
                    break
                held += found
            read_to_end(stream, self.where)
        _check_length(held, start + len(view), self.where)
        if not self.dtype.isnative:
            target.byteswap(inplace=True)

    def read(self) -> npt.NDArray[Any]:
        """Voxels (N, K, J, I) as stored; ResourceError if memory is too small."""
        require(self.read_bytes, self.where)
        voxels = np.empty(self.shape[::-1], self.dtype.newbyteorder("="))
        self.read_into(voxels)
        return voxels

    def values(self, voxels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Grey values of stored values."""
        if self.is_plain and voxels.dtype == self.value_dtype:
            return voxels
        slope, intercept = self.scaling
        # Values too large for float32 become infinite, and are refused later.
        with np.errstate(over="ignore", invalid="ignore"):
            values = voxels.astype(np.float32)
            if not self.is_plain:
                values = values * np.float32(slope) + np.float32(intercept)
        return values


def inspect_nifti(path: Path, where: str, volumes: int, remedy: str = REMEDY_OF_AXES) -> NiftiFile:
    """The header of a file that must hold `volumes` volumes; `where` is its name in errors.

    Args:
        remedy: What helps if the file holds something else.

    Raises:
        ImageError: If the file is missing, damaged, not NIfTI or holds something else.
    """
    header = read_raw_header(path, where)
    shape, dtype = stored_form(header, where, volumes, remedy)
    i, j, k = shape[:3]
    with opened(path, where) as stream:
        is_packed = isinstance(stream, igzip.IGzipFile)
        size = os.fstat(stream.fileno()).st_size
    # The decompressed file is at most this large; refuse before any memory is reserved.
    most = size * (_HIGHEST_RATIO if is_packed else 1)
    _check_length(most, first_byte(header, where) + math.prod(shape) * dtype.itemsize, where)
    grid = grid_of(header, where)
    check_spacing(grid, header, where)
    return NiftiFile(path, where, header, (i, j, k, volumes), dtype, grid)


def read_first_slice(path: Path, where: str, volumes: int) -> npt.NDArray[Any]:
    """Grey values (J, I) of the first slice of a file; the rest is not decompressed.

    Args:
        path: The file.
        where: Name of the file in errors.
        volumes: Number of volumes that the file must hold.

    Raises:
        ImageError: If the file is missing, damaged, not NIfTI or holds something else.
    """
    with opened(path, where) as stream:
        content = stream.read(HEADER_BYTES)
        header = header_of(content, where)
        shape, dtype = stored_form(header, where, volumes)
        i, j, k = shape[:3]
        start, size = first_byte(header, where), i * j
        end = start + size * dtype.itemsize
        if end > SLACK:  # smaller slices need no check
            require(4 * end, where)
        content += stream.read(max(0, end - len(content)))
    _check_length(len(content), end, where)
    voxels = np.frombuffer(content, dtype, size, start).reshape(j, i)
    file = NiftiFile(path, where, header, (i, j, k, volumes), dtype, grid_of(header, where))
    return file.values(voxels.astype(dtype.newbyteorder("="), copy=False))


def _check_length(held: int, announced: int, where: str) -> None:
    if held < announced:
        raise ImageError(
            f"{where} is truncated: it holds {held} bytes, but its header announces {announced}",
            remedy="copy or download it again",
        )
