"""One synthetic head with a tumour, and its four contrasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from volseg.phantoms.anatomy import anatomy
from volseg.phantoms.space import Field, Mask, Space
from volseg.phantoms.tumour import deformed, lesions_of, replace_by_tumour, tumour_of

# Brightness of each tissue, relative to white matter in T1.
_TISSUES = ("csf", "grey", "deep", "white", "vessel", "core", "oedema", "enhancing")
_BRIGHTNESS: Mapping[str, tuple[float, ...]] = {
    "t1n": (0.35, 0.76, 0.86, 1.00, 0.55, 0.58, 0.80, 0.78),
    "t1c": (0.40, 0.80, 0.88, 0.98, 1.90, 0.50, 0.80, 2.10),
    "t2w": (2.20, 1.02, 0.88, 0.76, 1.20, 1.95, 1.50, 1.35),
    "t2f": (0.25, 0.90, 0.82, 0.72, 0.55, 1.00, 1.50, 1.35),
}


@dataclass(frozen=True)
class Phantom:
    """Four contrasts, int16 (I, J, K) with 0 outside the brain, and their label map, uint8."""

    images: Mapping[str, npt.NDArray[np.int16]]
    label_map: npt.NDArray[np.uint8]


def make_phantom(
    rng: np.random.Generator, shape: tuple[int, int, int], enhancing: bool = True
) -> Phantom:
    """One head with one or two tumours.

    Args:
        rng: Source of all random numbers.
        shape: Voxels (I, J, K), along left, back and top.
        enhancing: Whether the tumour has an enhancing rim.
    """
    space = Space(rng, shape)
    lesions = lesions_of(rng)
    shares, brain, white = anatomy(space, deformed(space, lesions))
    label_map = tumour_of(space, lesions, brain & (shares["csf"] < 0.5), white, enhancing)
    replace_by_tumour(space, shares, label_map)
    images = {
        channel: _render(space, shares, brightness, brain)
        for channel, brightness in _BRIGHTNESS.items()
    }
    return Phantom(images, label_map)


def _render(
    space: Space, shares: Mapping[str, Field], brightness: Sequence[float], brain: Mask
) -> npt.NDArray[np.int16]:
    """One contrast as a scanner stores it, with bias field, noise, blur and random gain."""
    rng = space.rng
    image = np.zeros(space.shape, dtype=np.float32)
    uneven = 0.04 + 0.1 * (shares["core"] + shares["enhancing"])
    texture = 1 + uneven * space.noise(5)
    for name, value in zip(_TISSUES, brightness, strict=True):
        image += value * rng.normal(1, 0.04) * shares[name]
    image *= texture * np.exp(0.07 * space.noise(90))
    image = ndimage.gaussian_filter(image, 0.45)
    image += rng.normal(0, 0.025, space.shape).astype(np.float32)
    gain = np.exp(rng.uniform(np.log(250), np.log(1500)))
    return np.where(brain, np.clip(image * gain, 1, 32767), 0).astype(np.int16)
