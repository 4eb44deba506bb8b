"""The header of a NIfTI file, unchanged, and the shape and type of its voxels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from volseg.errors import ImageError
from volseg.images.nifti_geometry import check_fields
from volseg.images.nifti_stream import SLACK, opened

_HEADER_CLASSES: Mapping[int, Any] = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
#: Bytes of the longest header.
HEADER_BYTES = max(_HEADER_CLASSES)


def read_raw_header(path: Path, where: str) -> Any:
    """Unchanged header of a file; ImageError if it has none."""
    with opened(path, where) as stream:
        content = stream.read(HEADER_BYTES)
    return header_of(content, where)


def header_of(content: bytes, where: str) -> Any:
    """Unchanged header at the beginning of a file."""
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
    found = f"is not a NIfTI file: it begins with {content[:8]!r}" if content else "is empty"
    raise ImageError(
        f"{where} {found}",
        remedy="download it again or convert the image to NIfTI",
    )


#: What helps where images have the wrong number of axes.
REMEDY_OF_AXES = "give one 3D image for each channel, or one 4D image of all channels"


def stored_form(
    header: Any, where: str, volumes: int, remedy: str = REMEDY_OF_AXES
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the voxels of a file that must hold `volumes` volumes of numbers."""
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    found = [size for size in shape[3:] if size != 1] or [1]
    if len(shape) < 3 or min(shape) < 1 or found != [volumes]:
        needed = f"{volumes} volumes of 3 axes" if volumes > 1 else "one volume of 3 axes"
        raise ImageError(
            f"{where} has shape {shape}, but {needed} is expected",
            remedy=remedy,
        )
    if dtype.kind not in "iuf":
        raise ImageError(
            f"{where} holds voxels of type {dtype}, but numbers are expected",
            remedy="export grey values",
        )
    return shape, dtype


def first_byte(header: Any, where: str) -> int:
    """Bytes before the first voxel; ImageError if the header holds an impossible number."""
    given, least = float(header["vox_offset"]), int(header.single_vox_offset)
    if given == 0:
        return least
    if not (least <= given <= SLACK and given.is_integer()):
        raise ImageError(
            f"{where} says that its voxels begin at byte {given:g}, but a whole number from "
            f"{least} to {SLACK} is expected",
            remedy="convert the image again",
        )
    return int(given)
