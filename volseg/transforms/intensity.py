"""Grey values of a channel: single voxels far outside the others, and normalisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.errors import ImageError
from volseg.images.background import subsampled

Volume = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

# Limits of the distance from the median, as multiples of the distance within which so many percent
# of the voxels lie. Measured in 44 scans, voxels reach at most 6.3 times the distance of 98 %, and
# 12.7 times that of 95 %. The latter finds whole slices that are too bright.
_FAR = {99.5: 20, 98.0: 20, 95.0: 40}
# The limit is also at least so many times the distance of the median from background: homogeneous
# tissue may have bright lesions.
_BRIGHT = 5
# Far voxels above both this number and this share of the tissue stay unchanged.
_FEWEST, _FEW = 3, 0.01
# Shares of the width of a stated range: tolerance beyond it, and the least part that values must
# use.
_BEYOND, _USED = 0.05, 0.1


@dataclass(frozen=True, eq=False)
class FarVoxels:
    """Voxels that would dominate mean and standard deviation, such as burnt-in text.

    Attributes:
        mask: Mask of these voxels, (I, J, K).
        count: Number of these voxels.
        share: Their share of the tissue.
        low: Lower end of the range of 96 % of the tissue.
        high: Upper end of that range.
    """

    mask: Mask
    count: int
    share: float
    low: float
    high: float

    @property
    def are_few(self) -> bool:
        """Whether they are few enough to be a defect."""
        return self.count <= _FEWEST or self.share <= _FEW


def far_outside(channel: Volume, tissue: Mask | None) -> FarVoxels | None:
    """Find voxels far outside the range of the others.

    Args:
        channel: Grey values (I, J, K).
        tissue: Mask of tissue, (I, J, K); None: voxels that are not 0.

    Returns:
        None if there are none.
    """
    sample = subsampled(channel)
    sample = sample[sample != 0 if tissue is None else subsampled(tissue)]
    if not sample.size:
        return None
    middle = float(np.median(sample))
    spreads = {
        percent: np.abs(np.percentile(sample, [100 - percent, percent]) - middle).max()
        for percent in _FAR
    }
    # A distance of 0, where nearly all voxels have one value, is no measure.
    wide = [times * spreads[percent] for percent, times in _FAR.items() if spreads[percent]]
    reach = max(min(wide), _BRIGHT * abs(middle)) if wide else 0
    if not reach or (channel.min() >= middle - reach and channel.max() <= middle + reach):
        return None
    inside = channel != 0 if tissue is None else tissue
    far = inside & (abs(channel - np.float64(middle)) > reach)
    count = int(np.count_nonzero(far))
    if not count:
        return None
    low, high = np.percentile(sample, [2, 98]).clip(middle - reach, middle + reach)
    return FarVoxels(far, count, count / np.count_nonzero(inside), float(low), float(high))


def standardise(values: npt.NDArray[np.float32], tissue: Mask) -> None:
    """Bring tissue to mean 0 and standard deviation 1, in place; `values` are 0 outside tissue."""
    count = np.count_nonzero(tissue)
    if not count:
        return
    mean = np.float32(values.sum(dtype=np.float64) / count)
    squares = 0.0
    # Plane by plane, so that each plane stays in the cache of its core.
    for plane, inside in zip(values, tissue, strict=True):
        np.subtract(plane, mean, out=plane, where=inside)
        # No dot product: BLAS would split each product among its own threads.
        squares += float(np.square(plane, dtype=np.float64).sum())
    values /= np.float32(math.sqrt(squares / count) or 1)


def to_unit_range(
    values: npt.NDArray[np.float32], tissue: Mask, stated: tuple[float, float] | None
) -> None:
    """Bring tissue to the range 0 to 1, in place; `values` are 0 outside tissue.

    Args:
        values: Grey values, 0 outside `tissue`.
        tissue: Mask of tissue.
        stated: Values that become 0 and 1; None: background (or the lowest value, if below it) and
            the largest value.
    """
    low, high = stated or (min(0.0, float(values.min())), float(values.max()))
    values -= np.float32(low)
    values /= np.float32(high - low) or np.float32(1)
    if low != 0:
        values *= tissue
    if stated:
        np.clip(values, 0, 1, out=values)


def check_range(channel: Volume, tissue: Mask, stated: tuple[float, float], name: str) -> list[str]:
    """Notes on unusual values of tissue in a stated range.

    Raises:
        ImageError: If values lie outside it.
    """
    low, high = stated
    width = high - low
    values = channel[tissue]
    least, largest = (float(values.min()), float(values.max())) if values.size else stated
    span = f"from {least:g} to {largest:g}, but data.intensity_range is {low:g} to {high:g}"
    if least < low - _BEYOND * width or largest > high + _BEYOND * width:
        raise ImageError(
            f"{name} holds values {span}",
            remedy="rescale the image, or train with the range of all",
        )
    return [f"values {span}"] if largest < low + _USED * width else []
