"""The brain by HD-BET, a network that was trained on patients with brain tumours."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from volseg.images.boxes import bounding_box
from volseg.memory import require
from volseg.preparation.brain_mask.hd_bet_network import DIVISOR
from volseg.preparation.brain_mask.hd_bet_weights import load_network
from volseg.preparation.brain_mask.mask import Mask, Proposal, cleaned, preferred
from volseg.preparation.resampling import resample
from volseg.preparation.volume import Volume

_SPACING_MM = 1.5
# Smallest size of an image in voxels, as in the training.
_LEAST = 128
# The head is where values exceed this share of the 99th percentile; with a margin, in voxels.
_HEAD, _MARGIN = 0.1, 4
# Memory of a network, in bytes a voxel (measured).
_BYTES_A_VOXEL = 400
_NO_CONTRAST = 1e-6
# Figures are in docs/studies/brain-masks.md.
_NOTES = {
    "t1c": (
        "without t1n, HD-BET saw t1c: it can take an enhancing rim at the border for skull (up to "
        "9 % of ET in five heads), so look at the outline in the picture"
    )
}
_OTHER = (
    "HD-BET saw {}, but its masks were measured on t1n and t1c alone: look at the outline in the "
    "picture"
)


def hd_bet_brain(volumes: Mapping[str, Volume], network: int = 0) -> Proposal:
    """The brain that one network of HD-BET finds in one channel.

    Args:
        volumes: Channels by name, on one grid.
        network: Number of the network, 0 to 4.

    Raises:
        BrainMaskError: If the weights are not installed.
        ResourceError: If memory is too small.
    """
    channel = preferred(volumes)
    mask = _segmented(volumes[channel], network)
    notes = () if channel == "t1n" else (_NOTES.get(channel, _OTHER).format(channel),)
    return cleaned(Proposal(mask, "HD-BET", (channel,), notes))


def _segmented(volume: Volume, number: int) -> Mask:
    onto = volume.grid.resampled((_SPACING_MM,) * 3)
    image = _turned(resample(volume, onto, np.eye(4)))
    head = bounding_box(image > _HEAD * np.percentile(image, 99), _MARGIN)
    # Mean and deviation are those of the whole image, as in the training of HD-BET.
    image = (image - image.mean()) / max(float(image.std()), _NO_CONTRAST)
    logits = np.full(image.shape, -1, np.float32)
    logits[head] = _logits(image[head], float(image.min()), number)
    return resample(Volume(_turned_back(logits), onto), volume.grid, np.eye(4), background=-1) > 0


def _turned(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """An image whose axes point to R, A and S, as one with S, P and L."""
    return image.transpose(2, 1, 0)[:, ::-1, ::-1]


def _turned_back(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return image[:, ::-1, ::-1].transpose(2, 1, 0)


def _logits(image: npt.NDArray[np.float32], air: float, number: int) -> npt.NDArray[np.float32]:
    """Logit of brain against background (I, J, K)."""
    sizes = [max(_LEAST, math.ceil(n / DIVISOR) * DIVISOR) for n in image.shape]
    require(math.prod(sizes) * _BYTES_A_VOXEL, f"HD-BET on {' x '.join(map(str, sizes))} voxels")
    padding = [(0, size - n) for n, size in zip(image.shape, sizes, strict=True)]
    padded = np.pad(image, padding, constant_values=air)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = load_network(number)(torch.from_numpy(padded)[None, None])[0].float().numpy()
    i, j, k = image.shape
    return np.asarray((found[1] - found[0])[:i, :j, :k])
