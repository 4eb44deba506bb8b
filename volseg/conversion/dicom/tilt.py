"""Volumes of a tilted gantry: sheared slices onto a grid with perpendicular axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from volseg.images.grid import Affine, Grid


def straight_grid(shape: tuple[int, int, int], affine: Affine) -> Grid:
    """The grid with perpendicular axes that covers a sheared grid.

    Slices keep their planes, their directions and their spacing; each is shifted within its plane,
    and the grid grows by the largest shift.

    Args:
        shape: Shape of the sheared grid.
        affine: Its affine, whose third axis is not perpendicular to the others.
    """
    shifts = _shifts(shape, affine)
    low = np.floor(shifts.min(axis=0)).astype(int)
    high = np.ceil(shifts.max(axis=0)).astype(int)
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    normal /= np.linalg.norm(normal)
    straight = affine.copy()
    straight[:3, 2] = normal * (normal @ affine[:3, 2])
    straight[:3, 3] += affine[:3, :2] @ low
    size = np.array(shape[:2]) + high - low
    return Grid((int(size[0]), int(size[1]), shape[2]), straight)


def straightened(voxels: npt.NDArray[Any], affine: Affine) -> tuple[npt.NDArray[Any], Grid]:
    """Voxels (I, J, K) of a sheared grid on `straight_grid`, by linear interpolation.

    Integers stay integers, rounded. Voxels outside the slices get the smallest value of the volume.
    """
    grid = straight_grid(voxels.shape, affine)
    shifts = _shifts(grid.shape, affine)
    low = np.floor(shifts.min(axis=0))
    outside = voxels.min()
    result = np.empty(grid.shape, voxels.dtype)
    for k, shift in enumerate(shifts - low):
        whole = np.full(grid.shape[:2], outside, np.float64)
        whole[: voxels.shape[0], : voxels.shape[1]] = voxels[:, :, k]
        moved = ndimage.shift(whole, shift, order=1, mode="constant", cval=float(outside))
        result[:, :, k] = np.rint(moved) if voxels.dtype.kind in "iu" else moved
    return result, grid


def tilt_in_words(tilt_deg: float) -> str:
    """Note on a series that was straightened."""
    return f"gantry tilt of {math.fabs(tilt_deg):.1f} degrees resampled away"


def _shifts(shape: tuple[int, ...], affine: Affine) -> npt.NDArray[np.float64]:
    """Shift (K, 2) of each slice within its plane, in voxels along I and J."""
    plane = affine[:3, :2]
    step = np.linalg.lstsq(plane, affine[:3, 2], rcond=None)[0]
    return np.arange(shape[2])[:, None] * step
