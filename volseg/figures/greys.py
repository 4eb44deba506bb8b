"""Grey values of images in pictures: what is black, what is white, and what is background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.images.background import is_ct

#: Intensities that become black and white.
Window = tuple[float, float]
Greys = npt.NDArray[np.uint8]

# Percentiles, of the voxels that are not 0, that become black and white.
_BLACK, _WHITE = 0.5, 99.7
# Least share of white that lies between black and white.
_LEAST_RANGE = 1e-3
# Share of the 99.5th percentile that the noise around a head stays below.
_NOISE = 0.08
# Window of a brain in CT, in Hounsfield units.
_BRAIN = (0.0, 80.0)
# Fewest samples along an axis of a large image; they are enough for percentiles.
_SAMPLES = 64


def sample_steps(image: npt.NDArray[Any]) -> tuple[int, ...]:
    """Steps between the samples of an image along its axes; 1 along a short axis.

    >>> sample_steps(np.zeros((240, 155, 3)))
    (3, 2, 1)
    """
    return tuple(max(1, size // _SAMPLES) for size in image.shape)


def sampled(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A view of about every third voxel along each axis of a large image."""
    return image[tuple(slice(None, None, step) for step in sample_steps(image))]


def grey_window(image: npt.NDArray[Any]) -> Window:
    """Intensities to show as black and as white; an image of equal values is white."""
    samples = sampled(image)
    values = samples[samples != 0].astype(np.float32)
    if not values.size:
        return 0.0, 1.0
    low, high = map(float, np.percentile(values, [_BLACK, _WHITE]))
    return min(low, high - _LEAST_RANGE * max(abs(high), _LEAST_RANGE)), high


def in_windows(
    images: Mapping[str, npt.NDArray[Any]], stated: Mapping[str, Window]
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Window]]:
    """Images by channel, of which those of absolute grey values are clipped to their window.

    Args:
        images: Arrays by channel.
        stated: Windows of channels; CT without a window is shown in that of the brain.

    Returns:
        The images, and the windows of the clipped images. A clipped image has 0 where the window
        begins, which is background in pictures, and is named after channel and window.

    >>> images, windows = in_windows({"ct": np.array([-1000, 40, 900])}, {"ct": (-20, 100)})
    >>> images["ct, -20 to 100"].tolist(), windows
    ([0.0, 60.0, 120.0], {'ct, -20 to 100': (0.0, 120)})
    """
    shown, windows = {}, {}
    for channel, image in images.items():
        window = stated.get(channel) or (_BRAIN if is_ct(image) else None)
        if window is None:
            shown[channel] = image
            continue
        low, high = window
        name = f"{channel}, {low:g} to {high:g}"
        shown[name] = np.clip(image, low, high).astype(np.float32) - np.float32(low)
        windows[name] = (0.0, high - low)
    return shown, windows


def as_greys(image: npt.NDArray[Any], window: Window) -> Greys:
    """The image as greys from 0 to 255; its background, 0, stays black."""
    low, high = window
    scaled = image.astype(np.float32)
    scaled -= np.float32(low)
    scaled *= np.float32(255 / (high - low))
    np.clip(scaled, 0, 255, out=scaled)
    grey = np.rint(scaled, out=scaled).astype(np.uint8)
    # A normalised image has negative voxels, so its background would be grey.
    grey[image == 0] = 0
    return grey


def above_background(image: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Mask of the voxels of an image above the background, be it 0 or faint noise."""
    # A normalised image has negative voxels, and its background is exactly 0.
    limit = 0 if image.min() < 0 else _NOISE * float(np.percentile(sampled(image), 99.5))
    return np.asarray(image > limit if limit else image != 0)
