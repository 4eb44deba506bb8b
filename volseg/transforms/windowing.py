"""Grey values clipped to a range that a config states by channel: a window, or percentiles.

Windows are for absolute grey values, such as the Hounsfield units of CT. There, the air around a
head is -1000, the corners of a scan may be -1024, -2000 or -3024, and fluid is 0, so that the lower
end of the window separates background from tissue rather than a single value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.errors import ImageError
from volseg.images.background import background_of, is_ct, outside

Volume = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Range = tuple[float, float]

# Smallest share of the tissue within a window. Of a head with skull, the brain is a third; of a
# scan in other units, only the voxels on borders lie within a window by chance.
_WITHIN = 0.02
# The same in the middle of a scan without air of -1000, which a CT lacks only if it was stripped,
# cropped or clipped. There, more than 70 % of synthetic CT lie within a window for the brain, and
# at most 15 % of real MRI (48 images); at the border, noise of MRI may lie within, too.
_WITHIN_MIDDLE = 0.4
_LEAST_TISSUE = 0.01
# Values scaled to 0 to 1, or -1 to 1, are constant within a window of this width.
_SCALED, _WIDE = 1, 20


def in_window(volume: Volume, window: Range, name: str) -> tuple[npt.NDArray[np.float32], Mask]:
    """Grey values above the lower end of a window, and the mask of tissue, both (I, J, K).

    Background is what is at or below the lower end, or has the value that fills the border, and is
    connected to the border: fluid and air inside the head stay tissue.

    Args:
        volume: Grey values (I, J, K).
        window: Its lower and upper end; other values are clipped to them.
        name: Channel, for errors.

    Returns:
        Values from 0 to the width of the window, 0 outside the tissue.

    Raises:
        ImageError: If little of the tissue lies within the window, or all values lie from -1 to 1.
    """
    low, high = window
    near = np.asarray(volume <= low)
    background = background_of(volume)
    if background.is_certain:
        near |= background.holds(volume)
    tissue = ~outside(near)
    _check_within(volume, tissue, window, name)
    values = np.clip(volume, low, high).astype(np.float32)
    values -= np.float32(low)
    values *= tissue
    return values, tissue


def _check_within(volume: Volume, tissue: Mask, window: Range, name: str) -> None:
    low, high = window
    share = _share_within(volume, tissue, window)
    problem = ""
    if share <= _WITHIN:
        problem = f"{share:.1%} of its tissue lies within its window of {low:g} to {high:g}"
    elif abs(volume).max() <= _SCALED and high - low >= _WIDE:
        problem = f"its window is {low:g} to {high:g}"
    elif not is_ct(volume):
        middle = tuple(slice(size // 4, size - size // 4) for size in volume.shape)
        if np.count_nonzero(tissue[middle]) >= _LEAST_TISSUE * tissue[middle].size:
            share = _share_within(volume[middle], tissue[middle], window)
        if share <= _WITHIN_MIDDLE:
            problem = (
                f"{share:.1%} of the tissue in its middle lies within its window of {low:g} to "
                f"{high:g}, and no air is -1000, so it seems to be no CT in Hounsfield units"
            )
    if problem:
        raise ImageError(
            f"{name} holds values from {volume.min():g} to {volume.max():g}, and {problem}",
            remedy="rescale the image to the units of data.windows (CT: Hounsfield units, air is "
            "-1000), or change the window",
        )


def _share_within(volume: Volume, tissue: Mask, window: Range) -> float:
    """Share of the tissue (I, J, K) in a window; values at its upper end may be clipped to it."""
    within = np.count_nonzero(tissue & (volume > window[0]) & (volume <= window[1]))
    return float(within / max(int(np.count_nonzero(tissue)), 1))


def clipped_to_percentiles(
    values: Volume, tissue: Mask, percentiles: Range
) -> npt.NDArray[np.float32]:
    """Grey values (I, J, K) clipped to percentiles of the tissue; 0 outside the tissue."""
    inside = values[tissue]
    if not inside.size:
        return values.astype(np.float32)
    low, high = np.percentile(inside, percentiles)
    clipped = np.clip(values, low, high).astype(np.float32)
    clipped *= tissue
    return clipped
