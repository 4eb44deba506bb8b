"""From the scan to the network's grid: crop to the brain, turn to RAS, resample, normalise.

One function for training and inference. It is written out, since MONAI's transforms take several
times as long and as much memory for the same numbers; `benchmarks/preprocessing.py` runs both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import torch

from volseg.boxes import bounding_box
from volseg.config import PreprocessingConfig
from volseg.nifti import CaseImages, Grid
from volseg.ranks import cores
from volseg.transforms.resampling import Affine, ratios, resampled, scaling, target_grid


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """A case as the network sees it.

    Attributes:
        image: float16 or float32 (C, I, J, K), axes pointing to R, A and S; background 0.
        affine: Voxel to world of `image`, (4, 4), mm.
        grid: Grid of the source files.
    """

    image: npt.NDArray[np.floating[Any]]
    affine: Affine
    grid: Grid


def preprocess(
    images: CaseImages,
    options: PreprocessingConfig,
    dtype: npt.DTypeLike = np.float16,
) -> Preprocessed:
    """Crop to the brain, turn to RAS, resample, normalise.

    The crop is the box of the tissue, and one voxel around it where it is interpolated; tissue is
    what is not background in every channel. Background is 0, or at most `options.background` of
    the 99.5th percentile of a channel, and becomes 0. Axes are only exchanged and mirrored, so an
    oblique image stays oblique. An axis whose spacing differs from the wanted one by more than 1 %
    is interpolated linearly, after averaging when it becomes coarser. Last, grey values are
    normalised as `options.intensity` says.

    Args:
        images: The case.
        options: Wanted spacing along the axes R, A and S, background, grey values. It is all that
            decides the result beside the case, so that its digest may name it.
        dtype: Of the result: float32, in which all is computed, or float16, to which it is rounded.
    """
    keeps = (ratios(images.grid.affine, options.spacing_mm, options.spatial_dims) == 1).all()
    margin = 0 if keeps else 1
    # A mask of the whole scan is only made where the voxels outside it must be blackened.
    tissue = _tissue(images.array, options.background) if options.background else None
    box = _box(images.array, margin) if tissue is None else bounding_box(tissue, margin)
    old = images.grid.affine @ scaling((1, 1, 1), [axis.start for axis in box])
    block = images.array[(slice(None), *box)]
    shape, affine = target_grid(block.shape[1:], old, options.spacing_mm, options.spatial_dims)
    image = np.empty((len(block), *shape), dtype)

    def fill(target: npt.NDArray[Any], channel: npt.NDArray[Any]) -> None:
        if tissue is not None:
            channel = channel * tissue[box]
        if keeps and target.dtype == np.float32:
            values = target  # no copy beside it
            values[...] = _upright(channel, old)
        else:
            values = _moved(channel, old, affine, shape)
        if options.intensity == "zscore":
            _standardise(values)
        else:
            _to_unit_range(values, images.array.dtype)
        if values is not target:
            target[...] = values

    # Resampling is torch's, which has threads of its own.
    with ThreadPoolExecutor(min(cores(), len(block)) if keeps else 1) as pool:
        list(pool.map(fill, image, block))
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


def _box(array: npt.NDArray[Any], margin: int) -> tuple[slice, ...]:
    """Box of what is not 0 in some channel, and so many voxels around it; all if there is none."""
    with ThreadPoolExecutor(min(cores(), len(array))) as pool:
        profiles = list(pool.map(_profiles, array))
    box = []
    for lines, size in zip(zip(*profiles, strict=True), array.shape[1:], strict=True):
        used = np.flatnonzero(np.any(lines, axis=0))
        low, high = (int(used[0]), int(used[-1]) + 1) if used.size else (0, size)
        box.append(slice(max(low - margin, 0), min(high + margin, size)))
    return tuple(box)


def _profiles(channel: npt.NDArray[Any]) -> list[npt.NDArray[np.bool_]]:
    """For each axis of (I, J, K), which planes hold anything but 0."""
    # In the order in which the voxels lie in memory, so that they are gone through once.
    order = np.argsort([-abs(step) for step in channel.strides], kind="stable")
    planes = channel.transpose(order)
    if planes.dtype.kind == "f":
        planes = planes != 0
    outer = np.zeros(len(planes), np.bool_)
    together = np.zeros_like(planes[0])
    for number, plane in enumerate(planes):
        outer[number] = np.bitwise_or.reduce(plane, axis=0).any()
        together |= plane
    found = [outer, together.any(axis=1), together.any(axis=0)]
    return [found[place] for place in np.argsort(order)]


def _moved(
    channel: npt.NDArray[Any], old: Affine, new: Affine, shape: Sequence[int]
) -> npt.NDArray[np.float32]:
    """float32 copy of a channel on the new grid, in order of its axes."""
    upright = _upright(channel, old)
    ras = old @ nib.orientations.inv_ornt_aff(nib.io_orientation(old), channel.shape)
    values = upright.astype(np.float32, order="C")
    if upright.shape == tuple(shape) and np.array_equal(ras, new):
        return values
    return resampled(torch.from_numpy(values)[None], ras, new, shape)[0].contiguous().numpy()


def _upright(channel: npt.NDArray[Any], affine: Affine) -> npt.NDArray[Any]:
    """View of a channel whose axes point to R, A and S."""
    upright: npt.NDArray[Any] = nib.apply_orientation(channel, nib.io_orientation(affine))
    return upright


def _tissue(array: npt.NDArray[Any], background: float) -> npt.NDArray[np.bool_]:
    """Voxels that are not background in every channel; all of them if there is none."""
    tissue = np.zeros(array.shape[1:], dtype=np.bool_)
    for channel in array:
        tissue |= channel > background * np.percentile(channel, 99.5)
    return tissue if tissue.any() else ~tissue


def _standardise(values: npt.NDArray[np.float32]) -> None:
    """Bring the values that are not 0 to mean 0 and standard deviation 1; 0 stays."""
    count = np.count_nonzero(values)
    if not count:
        return
    mean = np.float32(values.sum(dtype=np.float64) / count)
    squares = 0.0
    # Plane by plane, each staying in the cache of its core.
    for plane in values:
        np.subtract(plane, mean, out=plane, where=plane != 0)
        # No dot product: BLAS would share out each of them among threads of its own.
        squares += float(np.square(plane, dtype=np.float64).sum())
    values /= np.float32(math.sqrt(squares / count) or 1)


def _to_unit_range(values: npt.NDArray[np.float32], stored: np.dtype[Any]) -> None:
    """Bring values to 0 to 1: by the range of a type of 2D images, else by their own."""
    if stored in (np.uint8, np.uint16):
        values /= np.float32(np.iinfo(stored).max)
    else:
        values -= values.min()
        values /= values.max() or np.float32(1)
