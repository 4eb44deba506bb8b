"""From the scan to the network's grid: crop to the brain, turn to RAS, resample, normalise.

One function for training and inference. It is written out, since reading and preprocessing a case
with MONAI's transforms takes 4 times as long at the spacing of the scan, and 2.7 times at 2 mm, for
the same numbers; `benchmarks/preprocessing.py` runs both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from volseg.boxes import bounding_box
from volseg.config import DataConfig
from volseg.nifti import CaseImages, Grid
from volseg.transforms.resampling import Affine, resampled, scaling, target_grid


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """A case as the network sees it.

    Attributes:
        image: float16 (C, I, J, K), axes pointing to R, A and S; background 0.
        affine: Voxel to world of `image`, (4, 4), mm.
        grid: Grid of the source files.
    """

    image: npt.NDArray[np.float16]
    affine: Affine
    grid: Grid


def preprocess(images: CaseImages, options: DataConfig, spatial_dims: int = 3) -> Preprocessed:
    """Crop to the brain, turn to RAS, resample, normalise.

    The crop is the box of the tissue and one voxel around it; tissue is what is not background in
    every channel. Background is 0, or at most `options.background` of the 99.5th percentile of a
    channel, and becomes 0. Axes are only exchanged and mirrored, so an oblique image stays oblique.
    An axis whose spacing differs from the wanted one by more than 1 % is interpolated linearly,
    after averaging when it becomes coarser. Last, grey values are normalised as
    `options.intensity` says.

    Args:
        images: The case.
        options: Wanted spacing along the axes R, A and S, background, grey values.
        spatial_dims: For 2, the spacing along S stays, so that a slice remains a slice.
    """
    tissue = _tissue(images.array, options.background)
    box = bounding_box(tissue, margin=1)
    block = images.array[(slice(None), *box)]
    if options.background:
        block = block * tissue[box]
    cropped = images.grid.affine @ scaling((1, 1, 1), [axis.start for axis in box])
    shape, affine = target_grid(block.shape[1:], cropped, options.spacing_mm, spatial_dims)
    moved = resampled(torch.from_numpy(block.astype(np.float32)), cropped, affine, shape)
    image = np.empty((len(block), *shape), dtype=np.float16)
    for target, channel in zip(image, moved.numpy(), strict=True):
        target[...] = (
            _standardised(channel)
            if options.intensity == "zscore"
            else _in_unit_range(channel, images.array.dtype)
        )
    return Preprocessed(image, affine, images.grid)


def preprocess_masks(
    masks: npt.NDArray[np.bool_], grid: Grid, target: Preprocessed
) -> npt.NDArray[np.bool_]:
    """Region masks on the grid of a preprocessed image.

    Args:
        masks: (R, I, J, K) on `grid`.
        grid: Grid of the label map.
        target: The image that the masks belong to.

    Returns:
        (R, I, J, K) on the grid of `target`; where that is coarser, a voxel belongs to a region
        if at least half of it does.
    """
    # Copied, since torch takes neither read-only nor mirrored arrays.
    tensor = torch.from_numpy(masks.copy(order="K"))
    moved = resampled(tensor, grid.affine, target.affine, target.image.shape[1:])
    # The weights of a voxel that is half covered may add up to a little less than a half.
    return np.asarray(moved.numpy() >= 0.5 - 1e-5)


def _tissue(array: npt.NDArray[Any], background: float) -> npt.NDArray[np.bool_]:
    """Voxels that are not background in every channel; all of them if there is none."""
    tissue = np.zeros(array.shape[1:], dtype=np.bool_)
    for channel in array:
        limit = background * np.percentile(channel, 99.5) if background else 0
        tissue |= channel > limit if background else channel != 0
    return tissue if tissue.any() else ~tissue


def _standardised(channel: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mean 0 and standard deviation 1 over the voxels that are not 0, which stay 0."""
    tissue = channel != 0
    values = channel[tissue]
    if not len(values):
        return channel
    mean, deviation = values.mean(dtype=np.float64), values.std(dtype=np.float64)
    result = (channel - np.float32(mean)) / np.float32(deviation or 1)
    return np.where(tissue, result, np.float32(0))


def _in_unit_range(channel: npt.NDArray[np.float32], stored: np.dtype[Any]) -> npt.NDArray[Any]:
    """Values from 0 to 1: by the range of a type of 2D images, else by that of the channel."""
    if stored in (np.uint8, np.uint16):
        return channel / np.float32(np.iinfo(stored).max)
    low, high = channel.min(), channel.max()
    return (channel - low) / np.float32(high - low or 1)
