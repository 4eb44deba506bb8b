"""Voxels of a volume from the pixels of its frames."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from volseg.conversion.dicom.frames import Frame, Stored
from volseg.conversion.dicom.geometry import Layout
from volseg.conversion.dicom.header import REMEDY
from volseg.conversion.dicom.tilt import straightened
from volseg.errors import ImageError
from volseg.files.documents import check_regular
from volseg.words import reason

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Voxels = npt.NDArray[Any]

_BITS = (8, 16, 32)
# Integers that float32 holds exactly.
_EXACT = 2**24


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
    if stored.bits not in _BITS:
        raise ImageError(f"{name} has pixels of {stored.bits} bits, not 8, 16 or 32", remedy=REMEDY)
    if stored.has_lut:
        raise ImageError(
            f"{name} gives its values by a table (Modality LUT), which volseg does not apply",
            remedy="export it with slope and intercept",
        )
    if not _is_decodable(stored.syntax):
        from pydicom.uid import UID

        raise ImageError(
            f"{name} is compressed as {UID(stored.syntax).name}, which cannot be decoded here",
            remedy="export it uncompressed (Explicit VR Little Endian)",
        )


def check_length(frame: Frame) -> None:
    """Check that the file of a frame is long enough for all its uncompressed pixels.

    Raises:
        ImageError: If not.
    """
    from pydicom.uid import UID

    stored = frame.stored
    known = UID(stored.syntax)
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
    first = frames[0]
    shape = (first.columns or 0, first.rows or 0, len(frames))
    scaled = any((frame.slope, frame.intercept) != (1, 0) for frame in frames)
    whole = all(float(x).is_integer() for f in frames for x in (f.slope, f.intercept))
    voxels: Voxels | None = None
    padded: Voxels | None = None
    for k, frame, pixels in _slices(name, frames):
        if pixels.shape != (shape[1], shape[0]):
            raise ImageError(
                f"{name}: {frame.stored.path.name} holds {pixels.shape[1]} x {pixels.shape[0]} "
                f"pixels, but its header says {shape[0]} x {shape[1]}",
                remedy=REMEDY,
            )
        if voxels is None:
            kind: Any = pixels.dtype
            if scaled:
                kind = np.int64 if whole else np.float32
            # K outermost in memory: slices are written whole.
            voxels = np.empty(shape[::-1], kind).transpose(2, 1, 0)
        is_padding = _is_padding(pixels, frame.stored)
        if is_padding is not None and is_padding.any():
            padded = np.zeros(shape, bool) if padded is None else padded
            padded[:, :, k] = is_padding.T
        voxels[:, :, k] = _scaled(_upright(pixels, frame), frame, scaled, whole).T
    assert voxels is not None
    if padded is not None:
        voxels[padded] = _of_padding(voxels, padded, first)
    return _smallest(voxels) if voxels.dtype == np.int64 else voxels


def _scaled(pixels: Voxels, frame: Frame, scaled: bool, whole: bool) -> Voxels:
    if not scaled:
        return pixels
    kind = np.int64 if whole else np.float64
    return pixels.astype(kind) * kind(frame.slope) + kind(frame.intercept)


def _upright(pixels: Voxels, frame: Frame) -> Voxels:
    """Pixels whose largest value is the brightest; Hounsfield units need no change."""
    if not is_inverted(frame):
        return pixels
    bits = frame.stored.bits_stored or frame.stored.bits or 0
    low = -(2 ** (bits - 1)) if frame.stored.signed else 0
    return (2 * low + 2**bits - 1 - pixels.astype(np.int64)).astype(pixels.dtype)


def is_inverted(frame: Frame) -> bool:
    """Whether large values are dark, and no unit fixes their meaning."""
    return frame.stored.photometric == "MONOCHROME1" and frame.facts.modality != "CT"


def _is_padding(pixels: Voxels, stored: Stored) -> npt.NDArray[np.bool_] | None:
    if stored.padding is None:
        return None
    ends = sorted((stored.padding, stored.padding_limit or stored.padding))
    if stored.padding_limit is None:
        return pixels == stored.padding
    return (pixels >= ends[0]) & (pixels <= ends[1])


def _of_padding(voxels: Voxels, padded: npt.NDArray[np.bool_], frame: Frame) -> float:
    """Value of voxels outside the scanned field: the lowest of CT, no signal elsewhere."""
    if padded.all():
        return 0
    return voxels[~padded].min() if frame.facts.modality == "CT" else 0


def _smallest(voxels: Voxels) -> Voxels:
    """Integers as int16 or uint16 if these hold them, else as int32 or wider."""
    low, high = voxels.min(), voxels.max()
    for kind in (np.int16, np.uint16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return voxels.astype(kind)
    return voxels


def _slices(name: str, frames: Sequence[Frame]) -> Any:
    """Number, frame and pixels (rows, columns) of each slice; a file is opened once."""
    by_file: dict[Path, list[tuple[int, Frame]]] = {}
    for k, frame in enumerate(frames):
        by_file.setdefault(frame.stored.path, []).append((k, frame))
    for path, members in by_file.items():
        for (k, frame), pixels in zip(members, _pixels(name, path, members), strict=True):
            yield k, frame, _tile(pixels, frame)


def _tile(pixels: Voxels, frame: Frame) -> Voxels:
    if frame.tile is None:
        return pixels
    down, right = divmod(frame.tile.number, frame.tile.side)
    rows, columns = frame.rows or 0, frame.columns or 0
    return pixels[down * rows : (down + 1) * rows, right * columns : (right + 1) * columns]


def _pixels(name: str, path: Path, members: Sequence[tuple[int, Frame]]) -> Any:
    from pydicom.pixels.utils import iter_pixels

    try:
        check_regular(path)
        with warnings.catch_warnings():
            # Of padding behind the pixels, and of codestreams that contradict the header in ways
            # that pydicom corrects.
            warnings.simplefilter("ignore")
            ds = _dataset(path, members[0][1].stored)
            indices = [frame.index for _, frame in members]
            if members[0][1].tile is not None:
                (whole,) = iter_pixels(ds, indices=[0])
                return [whole] * len(members)
            return list(iter_pixels(ds, indices=indices))
    except Exception as error:  # decoding a damaged file ends in almost any exception
        raise ImageError(
            f"{name}: the pixels of {path.name} cannot be read ({reason(error)})",
            remedy="copy or export it again",
            path=path,
        ) from error


def _dataset(path: Path, stored: Stored) -> Dataset:
    from pydicom import dcmread
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    ds = dcmread(path, force=True)
    if "TransferSyntaxUID" not in getattr(ds, "file_meta", {}):
        meta = getattr(ds, "file_meta", None) or FileMetaDataset()
        meta.TransferSyntaxUID = UID(stored.syntax)
        ds.file_meta = meta
    return ds
