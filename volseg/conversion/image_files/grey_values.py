"""Grey values and labels of stored voxels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.errors import ImageError, LabelError
from volseg.images.case_images import check_values

_INTEGERS: tuple[type[np.signedinteger[Any]], ...] = (np.int16, np.int32, np.int64)


def grey_values(
    stored: npt.NDArray[Any], slope: float, intercept: float, where: str
) -> npt.NDArray[Any]:
    """Values with slope and intercept applied: integers where that is exact, else float32.

    Raises:
        ImageError: If a value is NaN, infinite or too large for float32, or all are equal.
    """
    values = _scaled(stored, slope, intercept)
    check_values(values, where)
    return values


def label_values(
    stored: npt.NDArray[Any], slope: float, intercept: float, where: str
) -> npt.NDArray[np.uint8]:
    """Labels of stored voxels, with slope and intercept applied.

    Raises:
        LabelError: If a value is no integer from 0 to 255.
    """
    values = _scaled(stored, slope, intercept)
    with np.errstate(invalid="ignore"):
        labels = np.rint(values).astype(np.uint8)
    wrong = values[~(abs(values - labels.astype(values.dtype, copy=False)) <= 1e-3)]
    if wrong.size:
        raise LabelError(
            f"{where} holds {wrong[0]} and {wrong.size - 1} more such voxels, but a label map "
            "holds integers from 0 to 255",
            remedy="give the label map, not an image or a probability",
        )
    return labels


def _scaled(stored: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[Any]:
    is_integer = stored.dtype.kind in "iu"
    if (slope, intercept) == (1, 0) and (is_integer or stored.dtype == np.float32):
        return stored
    if is_integer and float(slope).is_integer() and float(intercept).is_integer():
        ends = [int(end) * int(slope) + int(intercept) for end in (stored.min(), stored.max())]
        for dtype in _INTEGERS:
            if all(np.iinfo(dtype).min <= end <= np.iinfo(dtype).max for end in ends):
                return (stored.astype(np.int64) * int(slope) + int(intercept)).astype(dtype)
    # Values too large for float32 become infinite, and are refused.
    with np.errstate(over="ignore", invalid="ignore"):
        return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


def check_scaling(slope: float, intercept: float, where: str) -> None:
    """Raise ImageError if a slope or an intercept is no number, or the slope is 0."""
    if not (np.isfinite([slope, intercept]).all() and slope != 0):
        raise ImageError(
            f"{where} has slope {slope:g} and intercept {intercept:g}, but finite numbers and a "
            "slope other than 0 are expected",
            remedy="export it again",
        )
