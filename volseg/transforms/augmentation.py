"""Random changes of training patches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

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

from volseg.config import AugmentationConfig

Sample = dict[str, torch.Tensor]

_SHADING_POINTS = 3


def augmentation(config: AugmentationConfig, spatial_dims: int, fill: int | None = None) -> Compose:
    """Random changes of a training patch; those with probability 0 are left out.

    First the patch is mirrored, rotated, scaled and warped, then the grey values of the image
    change; background, which is 0 in all channels, stays 0. What is drawn depends on
    `Compose.set_random_state` alone.

    Args:
        config: Probability and strength of each change.
        spatial_dims: 2 or 3.
        fill: Number of the channel that replaces a dropped one; None: zeros do.

    Returns:
        Transform of `{"image": float32 (C, *), "mask": float32 (R, *)}`.
    """
    c = config
    spatial: list[Any] = [RandomFlip(c.flip, spatial_dims), RandomWarp(c)]
    factor, offset = c.intensity_scale, c.intensity_shift
    intensity: list[Any] = [
        RandomChange(c.bias_field, partial(_shade, largest=c.bias_field_range)),
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
        RandomDropout(c.channel_dropout, fill),
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


class RandomWarp(RandomizableTransform):
    """Rotates and scales about the centre and warps, each with a probability of its own.

    MONAI's has one probability for all. The image is interpolated linearly, and once; masks take
    the nearest voxel; what comes from outside the patch is 0.
    """

    def __init__(self, config: AugmentationConfig) -> None:
        super().__init__(max(config.rotate, config.scale, config.elastic))
        self.config = config

    def __call__(self, data: Sample) -> Sample:
        shape = data["image"].shape[1:]
        degrees, scale = np.zeros(3 if len(shape) == 3 else 1), 1.0
        if self.R.rand() < self.config.rotate:
            degrees = self.R.uniform(-1, 1, len(degrees)) * self.config.rotate_degrees
        if self.R.rand() < self.config.scale:
            scale = self.R.uniform(*self.config.scale_range)
        warped = self.R.rand() < self.config.elastic
        if scale == 1 and not degrees.any() and not warped:
            return data
        half = np.array(shape) / 2
        matrix = rotation(degrees) / scale * half / half[:, None]
        # torch counts axes from the last.
        theta = np.zeros((1, len(shape), len(shape) + 1))
        theta[0, :, :-1] = matrix[::-1, ::-1]
        grid = functional.affine_grid(
            torch.from_numpy(theta).float(), [1, 1, *shape], align_corners=False
        )
        if warped:
            grid = grid + self._displacement(shape)
        modes = {"image": "bilinear", "mask": "nearest"}
        return {
            name: functional.grid_sample(value[None], grid, modes[name], align_corners=False)[0]
            for name, value in data.items()
        }

    def _displacement(self, shape: Sequence[int]) -> torch.Tensor:
        """Smooth field (1, *shape, axes) in torch's units, from random vectors at control points.

        Splines between control points, as Ronneberger et al. warp (MICCAI 2015, section 3.1).
        """
        points = [max(2, round(size / self.config.elastic_spacing) + 1) for size in shape]
        field = _smooth_field(self.R, len(shape), points, shape) * self.config.elastic_range
        # torch counts axes from the last, and its grid runs from -1 to 1.
        unit = torch.tensor([2 / size for size in reversed(shape)])
        return field[None].movedim(1, -1).flip(-1) * unit


def _smooth_field(
    random: np.random.RandomState, fields: int, points: Sequence[int], shape: Sequence[int]
) -> torch.Tensor:
    """Fields (F, *shape) interpolated between control points drawn from -1 to 1."""
    drawn = torch.from_numpy(random.uniform(-1, 1, (1, fields, *points))).float()
    mode = "bicubic" if len(shape) == 2 else "trilinear"
    field = functional.interpolate(drawn, size=tuple(shape), mode=mode, align_corners=True)[0]
    return field.clamp(-1, 1)  # cubic splines overshoot


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
    """Replaces each channel with a probability.

    By the channel `fill`, which stays; without one by zeros, and one, drawn at random, stays.
    """

    def __init__(self, probability: float, fill: int | None = None) -> None:
        super().__init__(probability)
        self.fill = fill

    def __call__(self, data: Sample) -> Sample:
        image = data["image"]
        kept = self.R.rand(len(image)) >= self.prob
        if self.fill is not None:
            numbers = np.where(kept, np.arange(len(image)), self.fill)
            return {**data, "image": image[torch.from_numpy(numbers)]}
        kept[self.R.randint(len(image))] |= not kept.any()
        return {**data, "image": image * _per_channel(kept, image)}


def _per_channel(values: npt.NDArray[Any], image: torch.Tensor) -> torch.Tensor:
    """A number for each channel, shaped to be multiplied with the image."""
    return torch.from_numpy(values).to(image.dtype).reshape(-1, *[1] * (image.ndim - 1))


def _shade(image: torch.Tensor, random: np.random.RandomState, largest: float) -> torch.Tensor:
    """Multiply each channel, counted from its darkest voxel, by a smooth factor, as a coil does."""
    field = _smooth_field(random, len(image), [_SHADING_POINTS] * (image.ndim - 1), image.shape[1:])
    low = image.amin(tuple(range(1, image.ndim)), keepdim=True)
    return (image - low) * torch.exp(field * largest) + low


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
