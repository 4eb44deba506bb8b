"""Reading of 2D slices of a patient as one volume with columns, rows and slices as I, J, K.

Rows run to the patient's back and columns to the patient's left, as in radiological pictures. An
unknown size of a voxel is taken as 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from volseg.errors import GeometryError, ImageError
from volseg.images.bitmap import Form, read_bitmap, read_form
from volseg.images.case_images import CaseImages, check_values
from volseg.images.grid import Grid
from volseg.memory import require

_WHITE_IS_0 = "its TIFF says that 0 is white: values are taken as stored"


def read_stack(
    images: Sequence[Path],
    file_channels: Sequence[str],
    channels: Sequence[str],
    spacing_mm: Sequence[float] | None,
) -> CaseImages:
    """Read the slices of a case.

    An alpha channel that is opaque everywhere does not count, and three equal channels count as one
    if one is wanted. A slice may be constant, but not a channel of the whole case.

    Args:
        images: A 2D image (TIFF, PNG, JPEG, BMP) with all channels for each slice, in order.
        file_channels: Names of the channels of an image.
        channels: Channels to read, in this order.
        spacing_mm: Size of a voxel along columns, rows and slices; None: unknown.

    Returns:
        The case; integers as stored, or float32.

    Raises:
        ImageError: If a channel is missing or constant, or a file is missing or damaged, has
            several pages or other channels, or holds NaN or infinite values.
        GeometryError: If the images are not all of one size and kind.
    """
    _check_channels(file_channels, channels)
    numbers = [file_channels.index(channel) for channel in channels]
    # No threads: they gain nothing here, and cases are read in parallel.
    first, values = _read(images[0], file_channels)
    shape = (len(channels), len(images), *values.shape[:2])
    size = " x ".join(map(str, (*first.size, len(images))))
    require(
        math.prod(shape) * values.dtype.itemsize,
        f"{len(channels)} channels of {size} voxels",
    )
    stored = np.empty(shape, values.dtype)
    white_is_0 = first.white_is_0
    for k, path in enumerate(images):
        if k > 0:
            form, values = _read(path, file_channels)
            _check_alike(images[0], first, path, form)
            white_is_0 |= form.white_is_0
        stored[:, k] = np.moveaxis(values[..., numbers], -1, 0)
    array = stored.transpose(0, 3, 2, 1)
    place = images[0] if len(images) == 1 else images[0].parent
    for channel, volume in zip(channels, array, strict=True):
        check_values(volume, f"{channel} in {place}")
    grid, header = stack_grid(array.shape[1:], spacing_mm)
    notes = (_WHITE_IS_0,) if white_is_0 else ()
    return CaseImages(array, grid, header, notes, slices=tuple(images))


def read_stack_grid(
    images: Sequence[Path],
    file_channels: Sequence[str],
    channels: Sequence[str],
    spacing_mm: Sequence[float] | None,
) -> Grid:
    """Grid that `read_stack` would return; raises its errors that the headers show."""
    _check_channels(file_channels, channels)
    forms = [read_form(path, str(path)) for path in images]
    for path, form in zip(images, forms, strict=True):
        _check_bands(form, str(path), file_channels)
        _check_alike(images[0], forms[0], path, form)
    return stack_grid((*forms[0].size, len(images)), spacing_mm)[0]


def stack_grid(shape: Sequence[int], spacing_mm: Sequence[float] | None) -> tuple[Grid, Any]:
    """Grid of a stack (I, J, K), and a NIfTI header with exactly this grid."""
    i, j, k = (float(mm) for mm in spacing_mm or (1, 1, 1))
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    affine = np.diag([-i, -j, k, 1])
    header.set_qform(affine, code=1)
    header.set_sform(affine, code=1)
    header.set_xyzt_units("mm" if spacing_mm else "unknown")
    columns, rows, slices = (int(size) for size in shape)
    return Grid((columns, rows, slices), np.asarray(header.get_sform(), np.float64)), header


def check_same_size(
    first: Path, size: Sequence[int], other: Path, other_size: Sequence[int]
) -> None:
    """Raise GeometryError, with both names, if two slices of a case differ in size."""
    if tuple(size) != tuple(other_size):
        raise GeometryError(
            f"{other} has {other_size[0]} x {other_size[1]} pixels, but {first} has {size[0]} x "
            f"{size[1]}",
            remedy="give slices of one size, or make them separate cases",
        )


def _check_channels(file_channels: Sequence[str], channels: Sequence[str]) -> None:
    missing = [channel for channel in channels if channel not in file_channels]
    if missing:
        raise ImageError(
            f"no {' '.join(missing)}, but only {' '.join(file_channels)}",
            remedy=(
                "name the channels of the images in the config, or in the data list with volseg "
                "split --channels"
            ),
        )


def _check_alike(first: Path, form: Form, other: Path, other_form: Form) -> None:
    check_same_size(first, form.size, other, other_form.size)
    if form.kind != other_form.kind:
        raise GeometryError(
            f"{other} is {other_form.kind}, but {first} is {form.kind}",
            remedy="save all slices of a case alike",
        )


def _check_bands(form: Form, where: str, file_channels: Sequence[str], found: str = "") -> None:
    count = len(file_channels)
    if count not in form.bands or found:
        names = " ".join(file_channels)
        expected = f"{count} channels ({names}) are" if count > 1 else f"one channel ({names}) is"
        raise ImageError(
            f"{where} is {form.kind}{found}, but {expected} expected",
            remedy=(
                f"save it with {count if count > 1 else 'one'}, or name the channels that it has"
            ),
        )


def _read(path: Path, file_channels: Sequence[str]) -> tuple[Form, npt.NDArray[Any]]:
    """Form and values (rows, columns, channels) of a slice, which holds `file_channels`."""
    where, wanted = str(path), len(file_channels)
    form, values = read_bitmap(path, where)
    _check_bands(form, where, file_channels)
    found = ""
    if values.shape[2] != wanted and values.shape[2] in {2, 4}:
        if is_opaque(values):
            values = values[..., :-1]
        else:
            found = " with an alpha channel that is not opaque"
    if values.shape[2] != wanted and not found:
        found = "" if is_grey(values) else " with colours"
        values = values[..., :1]
    _check_bands(form, where, file_channels, found)
    return form, values


def is_opaque(values: npt.NDArray[Any]) -> bool:
    """Whether the last channel, taken as alpha, has its largest value in every pixel."""
    largest = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    return bool((values[..., -1] == largest).all())


def is_grey(values: npt.NDArray[Any]) -> bool:
    """Whether all channels are equal in every pixel."""
    return bool((values == values[..., :1]).all())
