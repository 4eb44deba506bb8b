"""Grey values of a channel: single voxels far outside the others, and the scale at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.errors import ImageError
from volseg.images.background import thinned

Volume = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

# Times as far from the median as so many percent of the voxels are. Measured in 44 scans: 6.3 times
# as far as 98 %, 12.7 as 95 % at most. The latter serves where a whole slice is too bright.
_FAR = {99.5: 20, 98.0: 20, 95.0: 40}
# And so many times as far as the median is from background: even tissue has bright lesions as well.
_BRIGHT = 5
# More voxels, and more than this share of the tissue, are left as they are.
_FEWEST, _FEW = 3, 0.01
# Of a stated range: values beyond it by up to this are rounded, and as much must be used.
_BEYOND, _USED = 0.05, 0.1


@dataclass(frozen=True, eq=False)
class FarVoxels:
    """Voxels that would decide mean and standard deviation: hot ones, burnt-in text.

    Attributes:
        mask: Where they are, (I, J, K).
        count: How many.
        share: Of the tissue.
        low: Least value that 96 % of the tissue has.
        high: Largest such value.
    """

    mask: Mask
    count: int
    share: float
    low: float
    high: float

    @property
    def are_few(self) -> bool:
        """Whether they may be taken for a defect."""
        return self.count <= _FEWEST or self.share <= _FEW


def far_outside(channel: Volume, tissue: Mask | None) -> FarVoxels | None:
    """Voxels far outside the range of the others.

    Args:
        channel: Grey values (I, J, K).
        tissue: What is not background, (I, J, K); None: what is not 0.

    Returns:
        None if there are none.
    """
    sample = thinned(channel)
    sample = sample[sample != 0 if tissue is None else thinned(tissue)]
    if not sample.size:
        return None
    middle = float(np.median(sample))
    spreads = {
        percent: np.abs(np.percentile(sample, [100 - percent, percent]) - middle).max()
        for percent in _FAR
    }
    # Where nearly all have one value, that is no measure.
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
    """Bring tissue to mean 0 and standard deviation 1, in place; what lies outside it is 0."""
    count = np.count_nonzero(tissue)
    if not count:
        return
    mean = np.float32(values.sum(dtype=np.float64) / count)
    squares = 0.0
    # Plane by plane, each staying in the cache of its core.
    for plane, inside in zip(values, tissue, strict=True):
        np.subtract(plane, mean, out=plane, where=inside)
        # No dot product: BLAS would share out each of them among threads of its own.
        squares += float(np.square(plane, dtype=np.float64).sum())
    values /= np.float32(math.sqrt(squares / count) or 1)


def to_unit_range(
    values: npt.NDArray[np.float32], tissue: Mask, stated: tuple[float, float] | None
) -> None:
    """Bring tissue to 0 to 1, in place; what lies outside it is 0.

    Args:
        values: Grey values, 0 outside `tissue`.
        tissue: What is not background.
        stated: What becomes 0 and 1; None: background and the largest value, or the least where
            some are darker than background.
    """
    low, high = stated or (min(0.0, float(values.min())), float(values.max()))
    values -= np.float32(low)
    values /= np.float32(high - low) or np.float32(1)
    if low != 0:
        values *= tissue
    if stated:
        np.clip(values, 0, 1, out=values)


def check_range(channel: Volume, tissue: Mask, stated: tuple[float, float], name: str) -> list[str]:
    """What is odd about the values of tissue in a stated range.

    Raises:
        ImageError: If they reach beyond it.
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
