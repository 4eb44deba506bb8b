"""From the scan to the network's grid and back, and random changes of training patches.

Preprocessing is one function for training and inference: crop to the brain, turn to RAS, resample,
normalise. It is written out, since reading and preprocessing a case with MONAI's transforms takes
4 times as long at the spacing of the scan, and 2.7 times at 2 mm, for the same numbers. Resampling
alone is twice as fast as MONAI's on the way back to the scan, but 4 times slower from 1 to 2 mm;
unlike MONAI's, it averages where voxels grow larger still. `benchmarks/preprocessing.py` runs both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import torch
from monai.transforms import (
    Compose,
    RandomizableTransform,
    RandScaleIntensityd,
    RandShiftIntensityd,
    RandSimulateLowResolutiond,
)
from torch.nn import functional

from volseg.boxes import bounding_box
from volseg.config import AugmentationConfig
from volseg.nifti import CaseImages, Grid

Affine = npt.NDArray[np.float64]
Sample = dict[str, torch.Tensor]


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


def preprocess(
    images: CaseImages, spacing_mm: Sequence[float], spatial_dims: int = 3
) -> Preprocessed:
    """Crop to the brain, turn to RAS, resample, normalise.

    The crop is the box of voxels that are not 0 in every channel, and one voxel around it. Axes are
    only exchanged and mirrored, so an oblique image stays oblique. An axis whose spacing differs
    from the wanted one by more than 1 % is interpolated linearly, after averaging when it becomes
    coarser. Each channel gets mean 0 and standard deviation 1 over its voxels that are not 0.

    Args:
        images: The case.
        spacing_mm: Wanted spacing along the axes R, A and S.
        spatial_dims: For 2, the spacing along S stays, so that a slice remains a slice.
    """
    box = bounding_box(_occupied(images.array), margin=1)
    block = images.array[(slice(None), *box)]
    cropped = images.grid.affine @ _scaling((1, 1, 1), [axis.start for axis in box])
    shape, affine = _target_grid(block.shape[1:], cropped, spacing_mm, spatial_dims)
    moved = _resampled(torch.from_numpy(block.astype(np.float32)), cropped, affine, shape)
    image = np.empty((len(block), *shape), dtype=np.float16)
    for target, channel in zip(image, moved.numpy(), strict=True):
        target[...] = _normalised(channel)
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
    moved = _resampled(tensor, grid.affine, target.affine, target.image.shape[1:])
    # The weights of a voxel that is half covered may add up to a little less than a half.
    return np.asarray(moved.numpy() >= 0.5 - 1e-5)


def to_original(probabilities: torch.Tensor, affine: Affine, grid: Grid) -> torch.Tensor:
    """Bring probabilities from the grid of a preprocessed image back to that of the scan.

    Where the spacing was kept, values are only moved. Else they are interpolated linearly.

    Args:
        probabilities: (R, I, J, K) on the preprocessed grid, on any device.
        affine: Affine of the preprocessed image.
        grid: Grid of the source files.

    Returns:
        float32 (R, *grid.shape) on the same device; 0 outside the preprocessed image.
    """
    return _resampled(probabilities.float(), affine, grid.affine, grid.shape)


def _occupied(array: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Voxels that are not 0 in every channel; all of them if there is none."""
    occupied: npt.NDArray[np.bool_] = array[0] != 0
    for channel in array[1:]:
        occupied |= channel != 0
    return occupied if occupied.any() else ~occupied


def _target_grid(
    shape: Sequence[int], affine: Affine, spacing_mm: Sequence[float], spatial_dims: int
) -> tuple[tuple[int, ...], Affine]:
    """Shape and affine of the RAS grid with the wanted spacing that covers a grid."""
    orientation = nib.orientations.io_orientation(affine)
    ras = affine @ nib.orientations.inv_ornt_aff(orientation, shape)
    sizes = [shape[axis] for axis in np.argsort(orientation[:, 0])]
    spacing = np.linalg.norm(ras[:3, :3], axis=0)
    ratio = np.asarray(spacing_mm) / spacing
    ratio[abs(ratio - 1) <= 0.01] = 1
    if spatial_dims == 2:
        ratio[2] = 1
    # The grids share the outer edge of their first voxels: when two voxels become one, it is their
    # mean whatever the size of the crop. The last voxel may reach beyond the old grid.
    new = tuple(math.ceil(size / r - 0.01) for size, r in zip(sizes, ratio, strict=True))
    return new, ras @ _scaling(ratio, (ratio - 1) / 2)


def _scaling(factors: Sequence[float], offsets: Sequence[float]) -> Affine:
    matrix = np.diag([*factors, 1.0]).astype(np.float64)
    matrix[:3, 3] = offsets
    return matrix


def _normalised(channel: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mean 0 and standard deviation 1 over the voxels that are not 0, which stay 0."""
    tissue = channel != 0
    values = channel[tissue]
    if not len(values):
        return channel
    mean, deviation = values.mean(dtype=np.float64), values.std(dtype=np.float64)
    result = (channel - np.float32(mean)) / np.float32(deviation or 1)
    return np.where(tissue, result, np.float32(0))


@dataclass(frozen=True)
class _AxisPlan:
    """How an axis of the new grid is filled from an axis of the old one.

    `taken` voxels of the old axis, mirrored if `mirrored`, go to the `written` voxels of the new
    one: as they are, or by `weights` (written, taken).
    """

    source: int
    mirrored: bool
    taken: slice
    written: slice
    weights: npt.NDArray[np.float32] | None


def _resampled(
    array: torch.Tensor, affine: Affine, new_affine: Affine, new_shape: Sequence[int]
) -> torch.Tensor:
    """Array (N, *old) on a new grid whose axes are parallel to the old ones; 0 outside."""
    old_to_new = np.linalg.inv(affine) @ new_affine
    sources = abs(old_to_new[:3, :3]).argmax(axis=0)
    plans = [
        _axis_plan(int(source), array.shape[1 + source], size, old_to_new[source, [axis, 3]])
        for axis, (source, size) in enumerate(zip(sources, new_shape, strict=True))
    ]
    for plan in plans:
        length = plan.taken.stop - plan.taken.start
        array = array.narrow(1 + plan.source, plan.taken.start, length)
    array = array.permute(0, *(1 + plan.source for plan in plans))
    array = array.flip([1 + axis for axis, plan in enumerate(plans) if plan.mirrored])
    for axis, plan in enumerate(plans, start=1):
        if plan.weights is not None:
            weights = torch.from_numpy(plan.weights).to(array.device)
            array = (array.float().movedim(axis, -1) @ weights.T).movedim(-1, axis)
    result = array.new_zeros((len(array), *new_shape))
    result[(slice(None), *(plan.written for plan in plans))] = array
    return result


def _axis_plan(source: int, old: int, new: int, line: npt.NDArray[np.float64]) -> _AxisPlan:
    """Plan for an axis whose new voxel n lies at `line[0] * n + line[1]` of the old axis."""
    step, start = float(line[0]), float(line[1])
    mirrored = step < 0
    if mirrored:
        step, start = -step, old - 1 - start
    if abs(step - 1) < 1e-4 and abs(start - round(start)) < 1e-3:
        shift, weights = round(start), None
        written = slice(max(0, -shift), min(new, old - shift))
        low, high = written.start + shift, written.stop + shift
    else:
        # Voxels of the new axis whose centre lies within the old grid, up to rounding.
        first = math.ceil((-0.5 - start) / step + 1e-3)
        last = math.floor((old - 0.5 - start) / step - 1e-3)
        written = slice(max(0, first), min(new, last + 1))
        positions = start + step * np.arange(written.start, written.stop, dtype=np.float64)
        low, high, weights = _interpolation(positions, old, step)
    taken = slice(old - high, old - low) if mirrored else slice(low, high)
    return _AxisPlan(source, mirrored, taken, written, weights)


def _interpolation(
    positions: npt.NDArray[np.float64], size: int, step: float
) -> tuple[int, int, npt.NDArray[np.float32]]:
    """First and last plus one of the voxels needed for `positions`, and their weights.

    The kernel is a triangle (linear interpolation) averaged over a width of `step - 1` voxels, so
    that nothing finer than the new voxels is left to alias, and a linear ramp stays exact. Beyond
    the ends, the last voxel goes on.
    """
    width = max(step - 1, 1e-6)
    reach = math.ceil(1 + width / 2)
    voxels = np.arange(math.floor(positions[0]) - reach, math.ceil(positions[-1]) + reach + 1)
    distance = positions[:, None] - voxels

    def area(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x = x.clip(-1, 1)
        return 0.5 + x - x * abs(x) / 2

    weights = (area(distance + width / 2) - area(distance - width / 2)) / width
    inside = voxels.clip(0, size - 1)
    low, high = int(inside[0]), int(inside[-1]) + 1
    result = np.zeros((high - low, len(positions)))
    np.add.at(result, inside - low, weights.T)
    return low, high, result.T.astype(np.float32)


def augmentation(config: AugmentationConfig, spatial_dims: int) -> Compose:
    """Random changes of a training patch; those with probability 0 are left out.

    First the patch is mirrored, rotated and scaled, then the grey values of the image change;
    background, which is 0 in all channels, stays 0. What is drawn depends on
    `Compose.set_random_state` alone.

    Args:
        config: Probability and strength of each change.
        spatial_dims: 2 or 3.

    Returns:
        Transform of `{"image": float32 (C, *), "mask": float32 (R, *)}`.
    """
    c = config
    spatial: list[Any] = [RandomFlip(c.flip, spatial_dims), RandomAffine(c)]
    factor, offset = c.intensity_scale, c.intensity_shift
    intensity: list[Any] = [
        RandomChange(c.noise, partial(_add_noise, largest_std=c.noise_std)),
        RandomChange(c.blur, partial(_blur, sigmas=c.blur_sigma)),
        RandomChange(c.contrast, partial(_stretch, factors=c.contrast_range)),
        RandScaleIntensityd("image", c.intensity_range, prob=factor, channel_wise=True),
        RandShiftIntensityd("image", c.intensity_range, prob=offset, channel_wise=True),
        RandSimulateLowResolutiond(
            "image",
            prob=c.low_resolution,
            upsample_mode="bilinear" if spatial_dims == 2 else "trilinear",
            zoom_range=c.low_resolution_range,
        ),
        RandomChange(c.gamma, partial(_gamma, exponents=c.gamma_range)),
        RandomDropout(c.channel_dropout),
    ]
    chosen = [[step for step in steps if step.prob] for steps in (spatial, intensity)]
    return Compose([*chosen[0], WithinTissue(chosen[1])])


class WithinTissue(Compose):
    """Changes of the image after which its background is 0 again, and all are plain tensors."""

    def __call__(self, input_: Sample, *args: Any, **kwargs: Any) -> Sample:
        tissue = (input_["image"] != 0).any(dim=0)
        output = super().__call__(input_, *args, **kwargs)
        plain = {name: value.as_subclass(torch.Tensor) for name, value in output.items()}
        return {**plain, "image": plain["image"] * tissue}


class RandomFlip(RandomizableTransform):
    """Mirrors each axis with a probability; one copy, where MONAI makes three (0.2, 5 ms)."""

    def __init__(self, probability: float, spatial_dims: int) -> None:
        super().__init__(probability)
        self.spatial_dims = spatial_dims

    def __call__(self, data: Sample) -> Sample:
        drawn = self.R.rand(self.spatial_dims) < self.prob
        axes = [axis for axis, flipped in enumerate(drawn, start=1) if flipped]
        return {name: value.flip(axes) for name, value in data.items()}


class RandomAffine(RandomizableTransform):
    """Rotates and scales about the centre, each with a probability of its own.

    MONAI's has one probability for both. The image is interpolated linearly, masks take the nearest
    voxel; what comes from outside the patch is 0.
    """

    def __init__(self, config: AugmentationConfig) -> None:
        super().__init__(max(config.rotate, config.scale))
        self.config = config

    def __call__(self, data: Sample) -> Sample:
        shape = data["image"].shape[1:]
        degrees, scale = np.zeros(3 if len(shape) == 3 else 1), 1.0
        if self.R.rand() < self.config.rotate:
            degrees = self.R.uniform(-1, 1, len(degrees)) * self.config.rotate_degrees
        if self.R.rand() < self.config.scale:
            scale = self.R.uniform(*self.config.scale_range)
        if scale == 1 and not degrees.any():
            return data
        half = np.array(shape) / 2
        matrix = rotation(degrees) / scale * half / half[:, None]
        # torch counts axes from the last.
        theta = np.zeros((1, len(shape), len(shape) + 1))
        theta[0, :, :-1] = matrix[::-1, ::-1]
        grid = functional.affine_grid(
            torch.from_numpy(theta).float(), [1, 1, *shape], align_corners=False
        )
        modes = {"image": "bilinear", "mask": "nearest"}
        return {
            name: functional.grid_sample(value[None], grid, modes[name], align_corners=False)[0]
            for name, value in data.items()
        }


def rotation(degrees: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Matrix of a rotation: in the plane by one angle, or about the axes I, J and K in turn."""
    size = 2 if len(degrees) == 1 else 3
    matrix = np.eye(size)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        first, second = [other for other in range(size) if size == 2 or other != axis]
        turn = np.eye(size)
        turn[first, [first, second]] = math.cos(angle), -math.sin(angle)
        turn[second, [first, second]] = math.sin(angle), math.cos(angle)
        matrix = turn @ matrix
    return matrix


Change = Callable[..., torch.Tensor]


class RandomChange(RandomizableTransform):
    """Replaces the image by `change(image, random)` with a probability."""

    def __init__(self, probability: float, change: Change) -> None:
        super().__init__(probability)
        self.change = change

    def __call__(self, data: Sample) -> Sample:
        self.randomize(None)
        if not self._do_transform:
            return data
        return {**data, "image": self.change(data["image"], self.R)}


class RandomDropout(RandomizableTransform):
    """Replaces each channel by zeros with a probability; one, drawn at random, always stays."""

    def __call__(self, data: Sample) -> Sample:
        image = data["image"]
        kept = self.R.rand(len(image)) >= self.prob
        kept[self.R.randint(len(image))] |= not kept.any()
        return {**data, "image": image * _per_channel(kept, image)}


def _per_channel(values: npt.NDArray[Any], image: torch.Tensor) -> torch.Tensor:
    """A number for each channel, shaped to be multiplied with the image."""
    return torch.from_numpy(values).to(image.dtype).reshape(-1, *[1] * (image.ndim - 1))


def _add_noise(
    image: torch.Tensor, random: np.random.RandomState, largest_std: float
) -> torch.Tensor:
    # torch draws normal numbers three times as fast as numpy, which MONAI asks.
    generator = torch.Generator().manual_seed(int(random.randint(2**31)))
    noise = torch.randn(image.shape, generator=generator)
    return image + noise * random.uniform(0, largest_std)


def _blur(
    image: torch.Tensor, random: np.random.RandomState, sigmas: tuple[float, float]
) -> torch.Tensor:
    """Gaussian blur, as a product with a band matrix along each axis (6 ms; MONAI's: 24 ms)."""
    sigma = random.uniform(*sigmas)
    for axis, size in enumerate(image.shape[1:], start=1):
        places = torch.arange(size)
        weights = torch.exp(-(((places[:, None] - places) / sigma) ** 2) / 2)
        weights /= weights.sum(dim=1, keepdim=True)
        image = torch.tensordot(image, weights, dims=([axis], [1])).movedim(-1, axis)
    return image


def _stretch(
    image: torch.Tensor, random: np.random.RandomState, factors: tuple[float, float]
) -> torch.Tensor:
    """Stretch each channel about its mean, and keep its range."""
    axes = tuple(range(1, image.ndim))
    mean = image.mean(axes, keepdim=True)
    drawn = _per_channel(random.uniform(*factors, len(image)), image)
    stretched = (image - mean) * drawn + mean
    return stretched.clamp(image.amin(axes, keepdim=True), image.amax(axes, keepdim=True))


def _gamma(
    image: torch.Tensor, random: np.random.RandomState, exponents: tuple[float, float]
) -> torch.Tensor:
    """Gamma curve on the range of each channel, which keeps its mean and standard deviation.

    MONAI's takes one range for all channels, and that of a bright t1c leaves the others unchanged.
    """
    axes = tuple(range(1, image.ndim))
    low, high = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
    unit = (image - low) / (high - low).clamp_min(1e-6)
    curved = unit ** _per_channel(random.uniform(*exponents, len(image)), image)
    old_std, old_mean = torch.std_mean(image, axes, keepdim=True)
    std, mean = torch.std_mean(curved, axes, keepdim=True)
    return (curved - mean) * (old_std / std.clamp_min(1e-6)) + old_mean
