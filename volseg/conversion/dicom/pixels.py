"""Voxels of a volume from the pixels of its frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from volseg.conversion.dicom.frames import Frame, Stored
from volseg.conversion.dicom.geometry import Layout
from volseg.conversion.dicom.header import REMEDY, known_uid, quiet
from volseg.conversion.dicom.tilt import straightened
from volseg.errors import ImageError
from volseg.files.documents import check_regular
from volseg.memory import require
from volseg.words import reason

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Voxels = npt.NDArray[Any]

_BITS = (8, 16, 32)


@dataclass(frozen=True)
class Reading:
    """How to read a volume; can be pickled, and is called by `Series.read`.

    Attributes:
        name: Name of the series for messages.
        layout: Its slices in order.
    """

    name: str
    layout: Layout

    def __call__(self) -> Voxels:
        voxels = read_voxels(self.name, self.layout.frames)
        return straightened(voxels, self.layout.affine)[0] if self.layout.tilt_deg else voxels


def check_pixels(stored: Stored) -> None:
    """Check that the pixels of a file can be decoded and are not cut off, as far as it can be seen.

    Raises:
        ImageError: If not.
    """
    name = stored.path.name
    if stored.bits is None:
        raise ImageError(f"{name} holds no pixels", remedy=REMEDY)
    if stored.bits not in _BITS:
        raise ImageError(f"{name} has pixels of {stored.bits} bits, not 8, 16 or 32", remedy=REMEDY)
    if stored.has_lut:
        raise ImageError(
            f"{name} gives its values by a table (Modality LUT), which volseg does not apply",
            remedy="export it with slope and intercept",
        )
    if not _is_decodable(stored.syntax):
        syntax = known_uid(stored.syntax).name
        raise ImageError(
            f"{name} is compressed as {syntax}, which cannot be decoded here",
            remedy="export it uncompressed (Explicit VR Little Endian)",
        )


def check_length(frame: Frame) -> None:
    """Check that the file of a frame is long enough for all its uncompressed pixels.

    Raises:
        ImageError: If not.
    """
    stored = frame.stored
    known = known_uid(stored.syntax)
    if known.is_encapsulated or known.is_deflated:
        return
    side = frame.tile.side if frame.tile else 1
    pixels = (frame.rows or 0) * (frame.columns or 0) * side**2 * stored.frames
    wanted = pixels * (stored.bits or 0) // 8
    if stored.bytes_left < wanted:
        raise ImageError(
            f"{stored.path.name} is cut off: {stored.bytes_left:,} of {wanted:,} bytes of pixels",
            remedy="copy or export it again",
        )


def _is_decodable(syntax: str) -> bool:
    from pydicom.pixels.decoders.base import get_decoder

    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def read_voxels(name: str, frames: Sequence[Frame]) -> Voxels:
    """Voxels (I, J, K) of slices, with slope and intercept applied.

    They are integers if slope and intercept of all slices are integers, else float32.

    Raises:
        ImageError: If a file is missing, damaged or cannot be decoded.
    """
    shape = (frames[0].columns or 0, frames[0].rows or 0, len(frames))
    require(math.prod(shape) * 4, f"{name} of {' x '.join(map(str, shape))} voxels")
    scaled = any((frame.slope, frame.intercept) != (1, 0) for frame in frames)
    whole = all(float(x).is_integer() for f in frames for x in (f.slope, f.intercept))
    voxels: Voxels | None = None
    padded: Voxels | None = None
    with quiet():
        for k, frame, pixels in _slices(name, frames, shape[1::-1]):
            plane = _scaled(pixels, frame, whole=whole) if scaled else pixels
            if voxels is None:
                # K outermost in memory: slices are written whole.
                voxels = np.empty(shape[::-1], plane.dtype).transpose(2, 1, 0)
            if not np.can_cast(plane.dtype, voxels.dtype):
                voxels = voxels.astype(_holding(voxels[:, :, :k], plane), order="K")
            voxels[:, :, k] = plane.T
            if (outside := _padding(pixels, frame.stored)) is not None:
                padded = np.zeros(shape, bool) if padded is None else padded
                padded[:, :, k] = outside.T
    assert voxels is not None
    if is_inverted(frames[0]):
        voxels = voxels.max() - (voxels - voxels.min())
    if padded is not None and not padded.all():
        # Outside the scanned field is air in CT, and no signal elsewhere.
        is_ct = frames[0].facts.modality == "CT"
        voxels[padded] = voxels[~padded].min() if is_ct else 0
    return voxels


def _scaled(pixels: Voxels, frame: Frame, *, whole: bool) -> Voxels:
    """Pixels with slope and intercept: the first integer type that holds them, or float32."""
    exact = np.int64 if whole else np.float64
    values = pixels.astype(exact) * exact(frame.slope) + exact(frame.intercept)
    return values.astype(_holding(values) if whole else np.float32)


def _holding(*several: Voxels) -> type[np.generic]:
    """The first of int16, uint16, int32 and int64 that holds all values of integer arrays."""
    filled = [values for values in several if values.size]
    low = min(int(values.min()) for values in filled)
    high = max(int(values.max()) for values in filled)
    for kind in (np.int16, np.uint16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return kind
    return np.int64


def is_inverted(frame: Frame) -> bool:
    """Whether large values are dark, and no unit fixes their meaning as in CT and PET."""
    return frame.stored.photometric == "MONOCHROME1" and frame.facts.modality == "MR"


def _padding(pixels: Voxels, stored: Stored) -> npt.NDArray[np.bool_] | None:
    """Mask of padding; None if there is none."""
    if stored.padding is None:
        return None
    limit = stored.padding if stored.padding_limit is None else stored.padding_limit
    low, high = sorted((stored.padding, limit))
    found = (pixels >= low) & (pixels <= high)
    return found if found.any() else None


def _slices(
    name: str, frames: Sequence[Frame], shape: tuple[int, ...]
) -> Iterator[tuple[int, Frame, Voxels]]:
    """Number, frame and pixels (rows, columns) of each slice; a file is opened once."""
    by_file: dict[Path, list[tuple[int, Frame]]] = {}
    for k, frame in enumerate(frames):
        by_file.setdefault(frame.stored.path, []).append((k, frame))
    for path, members in by_file.items():
        for (k, frame), image in zip(members, _images(name, path, members), strict=True):
            pixels = _tile(image, frame)
            if pixels.shape != shape:
                raise ImageError(
                    f"{name}: {path.name} holds pixels of shape {pixels.shape}, but its header "
                    f"says {shape}",
                    remedy=REMEDY,
                    path=path,
                )
            yield k, frame, pixels


def _tile(image: Voxels, frame: Frame) -> Voxels:
    if frame.tile is None:
        return image
    down, right = divmod(frame.tile.number, frame.tile.side)
    rows, columns = frame.rows or 0, frame.columns or 0
    return image[down * rows : (down + 1) * rows, right * columns : (right + 1) * columns]


def _images(name: str, path: Path, members: Sequence[tuple[int, Frame]]) -> Iterator[Voxels]:
    """Decoded pixels of a file for each of its frames, in the byte order of the machine."""
    from pydicom.pixels.utils import iter_pixels

    indices = [frame.index for _, frame in members]
    try:
        check_regular(path)
        ds = _dataset(path, members[0][1].stored)
        if members[0][1].tile is not None:
            (mosaic,) = iter_pixels(ds, indices=indices[:1])
            yield from [_native(mosaic)] * len(members)
        else:
            yield from map(_native, iter_pixels(ds, indices=indices))
    except Exception as error:  # decoding a damaged file ends in almost any exception
        raise ImageError(
            f"{name}: the pixels of {path.name} cannot be read ({reason(error)})",
            remedy="copy or export it again",
            path=path,
        ) from error


def _native(pixels: Voxels) -> Voxels:
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def _dataset(path: Path, stored: Stored) -> Dataset:
    from pydicom import dcmread
    from pydicom.dataset import FileMetaDataset

    ds = dcmread(path, force=True)
    if "TransferSyntaxUID" not in getattr(ds, "file_meta", {}):
        meta = getattr(ds, "file_meta", None) or FileMetaDataset()
        meta.TransferSyntaxUID = known_uid(stored.syntax)
        ds.file_meta = meta
    return ds
