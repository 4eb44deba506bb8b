"""Foreground of an image: the brain of a stripped image, else the head without the air."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from volseg.images.background import LARGEST_BRAIN_ML, background_of, is_ct, tissue_of
from volseg.images.components import components
from volseg.preparation.itk import array_of, image_of, simpleitk
from volseg.preparation.volume import Volume

# Share of the voxels that an exact background fills; noise around a head repeats no value so often.
_EXACT = 0.2
# The border of a head is found on voxels of about this size.
_COARSE_MM = 4.0
# Values this low are air in CT, in HU.
_AIR_HU = -500


@dataclass(frozen=True, eq=False)
class Foreground:
    """What an image shows, apart from its background.

    Attributes:
        mask: (I, J, K), without holes in slices.
        is_stripped: Whether it is a brain without a skull.
    """

    mask: npt.NDArray[np.bool_]
    is_stripped: bool


def foreground_of(volume: Volume) -> Foreground:
    """Foreground of an image whose values vary."""
    values, grid = volume
    background = background_of(values)
    held = background.holds(values)
    is_exact = np.count_nonzero(held) > _EXACT * held.size
    mask = tissue_of(values, background) if is_exact else _brighter(volume)
    is_small = np.count_nonzero(mask) * grid.voxel_ml <= LARGEST_BRAIN_ML
    filled = np.asarray(ndimage.binary_fill_holes(mask), np.bool_)
    return Foreground(filled, bool(is_exact and is_small))


def outline_of(volume: Volume) -> Foreground:
    """What the largest part of the foreground of an image surrounds, seen from the side and front.

    Dark tissue within a head, which a threshold takes for air, lies within its outline. In CT, the
    air in a scanner's round field of view is none of it.
    """
    foreground = foreground_of(volume)
    mask = volume.values > _AIR_HU if is_ct(volume.values) else foreground.mask
    numbers, n = components(mask)
    largest = numbers == 1 + int(
        np.argmax(np.bincount(numbers.ravel(), minlength=max(n, 1) + 1)[1:])
    )
    i, j, _ = volume.grid.ras_axes
    return Foreground(_between(largest, i) & _between(largest, j), foreground.is_stripped)


def _between(mask: npt.NDArray[np.bool_], axis: int) -> npt.NDArray[np.bool_]:
    """Voxels with voxels of a mask on both sides along an axis, and the mask."""
    ahead = np.logical_or.accumulate(mask, axis)
    behind = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis), axis)
    return np.asarray(ahead & behind, np.bool_)


def _brighter(volume: Volume) -> npt.NDArray[np.bool_]:
    """Mask of what is brighter than air by Otsu's threshold of a coarse copy."""
    sitk = simpleitk()
    image = image_of(volume)
    coarse = sitk.BinShrink(image, shrink_factors(volume, _COARSE_MM))
    low, high = np.percentile(array_of(coarse), [0.5, 99.5])
    threshold = sitk.OtsuThresholdImageFilter()
    threshold.Execute(sitk.Clamp(coarse, lowerBound=float(low), upperBound=float(high)))
    return np.asarray(volume.values > threshold.GetThreshold())


def shrink_factors(volume: Volume, mm: float) -> list[int]:
    """Voxels along each axis that make a voxel of about `mm`."""
    return [max(1, round(mm / spacing)) for spacing in volume.grid.spacing_mm]
