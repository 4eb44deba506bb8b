"""Random changes of training patches.

A fresh array of a patch costs more than most changes do: the system hands it out page by page. So
grey values change in place, channel by channel, in the one copy that `WithinTissue` makes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, RandomizableTransform
from torch.nn import functional

from volseg.config import AugmentationConfig
from volseg.transforms.axes import (
    control_points,
    empty,
    multiplied,
    smooth_field,
    voxel_lengths,
    weights_between,
)
from volseg.transforms.warping import RandomFlip, RandomWarp, Sample, as_float

_SHADING_POINTS = 3
_NEGLIGIBLE = 1e-6


def augmentation(
    config: AugmentationConfig,
    spatial_dims: int,
    fill: int | None = None,
    spacing_mm: Sequence[float] | None = None,
) -> Compose:
    """Random changes of a training patch; those with probability 0 are left out.

    First the patch is mirrored, rotated, scaled and warped, then the grey values of the image
    change; background stays 0. What is drawn depends on `Compose.set_random_state` alone.

    Args:
        config: Probability and strength of each change.
        spatial_dims: 2 or 3.
        fill: Number of the channel that replaces a dropped one; None: zeros do.
        spacing_mm: Of a patch, along each axis; None: the same along all.

    Returns:
        Transform of `{"image": (C, *), "mask": (R, *), "tissue": (1, *)}`, which it leaves as they
        are. The image becomes float32; masks keep their type, and so may be bits of one channel.
        Where there is no `tissue`, it is what is not 0 in any channel.
    """
    c = config
    spatial: list[Any] = [RandomFlip(c.flip, spatial_dims), RandomWarp(c, spacing_mm)]
    spread, lengths = c.intensity_range, voxel_lengths(spacing_mm, spatial_dims)
    intensity: list[Any] = [
        RandomChange(c.bias_field, partial(_shade, largest=c.bias_field_range)),
        RandomChange(c.noise, partial(_add_noise, largest_std=c.noise_std)),
        RandomChange(c.blur, partial(_blur, sigmas=c.blur_sigma, lengths=lengths)),
        RandomChange(c.contrast, partial(_stretch, factors=c.contrast_range)),
        RandomChange(c.intensity_scale, partial(_scale, spread=spread)),
        RandomChange(c.intensity_shift, partial(_shift, spread=spread)),
        RandomChange(
            c.low_resolution, partial(_coarsen, zooms=c.low_resolution_range, lengths=lengths)
        ),
        RandomChange(c.gamma, partial(_gamma, exponents=c.gamma_range)),
        RandomDropout(c.channel_dropout, fill),
    ]
    chosen = [[step for step in steps if step.prob] for steps in (spatial, intensity)]
    return Compose([*chosen[0], WithinTissue(chosen[1])])


class WithinTissue(Compose):
    """Changes of the image, in a copy, after which its background is 0 again."""

    # MONAI's own Compose calls this argument otherwise than its Transform.
    def __call__(self, input_: Sample, *args: Any, **kwargs: Any) -> Sample:  # type: ignore[override]
        image = as_float(input_["image"])
        if not self.transforms:
            return {**input_, "image": image}
        factor = _tissue(input_, image).float()
        output: Sample = super().__call__({**input_, "image": image}, *args, **kwargs)
        for channel in output["image"]:
            channel.mul_(factor)
        return output


def _tissue(data: Sample, image: torch.Tensor) -> torch.Tensor:
    if "tissue" in data:
        return data["tissue"][0] != 0
    tissue = image[0] != 0
    for channel in image[1:]:
        tissue |= channel != 0
    return tissue


Change = Callable[[torch.Tensor, np.random.RandomState], None]


class RandomChange(RandomizableTransform):
    """Calls `change(image, random)`, which changes the image in place, with a probability."""

    def __init__(self, probability: float, change: Callable[..., None]) -> None:
        super().__init__(probability)
        self.change: Change = change

    def __call__(self, data: Sample) -> Sample:
        self.randomize(None)
        if self._do_transform:
            self.change(data["image"], self.R)
        return data


class RandomDropout(RandomizableTransform):
    """Replaces each channel with a probability, in place.

    With `fill`, by that channel, which itself stays; else by zeros, and where all channels would
    be dropped, one of them, drawn at random, stays.
    """

    def __init__(self, probability: float, fill: int | None = None) -> None:
        super().__init__(probability)
        self.fill = fill

    def __call__(self, data: Sample) -> Sample:
        image = data["image"]
        kept = self.R.rand(len(image)) >= self.prob
        if self.fill is None:
            kept[self.R.randint(len(image))] |= not kept.any()
        for number in np.flatnonzero(~kept):
            image[number] = 0 if self.fill is None else image[self.fill]
        return data


def _shade(image: torch.Tensor, random: np.random.RandomState, largest: float) -> None:
    """Multiply each channel, counted from its darkest voxel, by a smooth factor, as a coil does."""
    controls = control_points(random, len(image), [_SHADING_POINTS] * (image.ndim - 1))
    for channel, points in zip(image, controls, strict=True):
        low = channel.min()
        factor = smooth_field(points, channel.shape).mul_(largest).exp_()
        channel.sub_(low).mul_(factor).add_(low)


def _add_noise(image: torch.Tensor, random: np.random.RandomState, largest_std: float) -> None:
    # Torch draws normal numbers three times as fast as numpy, which MONAI asks.
    generator = torch.Generator().manual_seed(int(random.randint(2**31)))
    std = random.uniform(0, largest_std)
    noise = empty(image.shape[1:])
    for channel in image:
        channel.add_(noise.normal_(generator=generator), alpha=std)


def _blur(
    image: torch.Tensor,
    random: np.random.RandomState,
    sigmas: tuple[float, float],
    lengths: Sequence[float],
) -> None:
    """Gaussian blur, in mm as wide along all axes: a product with a band matrix along each."""
    sigma = random.uniform(*sigmas)
    matrices = []
    for size, length in zip(image.shape[1:], lengths, strict=True):
        places = torch.arange(size)
        weights = torch.exp(-(((places[:, None] - places) / (sigma / length)) ** 2) / 2)
        weights[weights < _NEGLIGIBLE] = 0
        matrices.append(weights / weights.sum(dim=1, keepdim=True))
    for channel in image:
        channel.copy_(multiplied(channel, matrices))


def _stretch(
    image: torch.Tensor, random: np.random.RandomState, factors: tuple[float, float]
) -> None:
    """Stretch each channel about its mean, and keep its range."""
    for channel, factor in zip(image, random.uniform(*factors, len(image)), strict=True):
        low, high = torch.aminmax(channel)
        mean = channel.mean()
        channel.sub_(mean).mul_(factor).add_(mean).clamp_(low, high)


def _scale(image: torch.Tensor, random: np.random.RandomState, spread: float) -> None:
    for channel, factor in zip(image, random.uniform(-spread, spread, len(image)), strict=True):
        channel.mul_(1 + factor)


def _shift(image: torch.Tensor, random: np.random.RandomState, spread: float) -> None:
    for channel, offset in zip(image, random.uniform(-spread, spread, len(image)), strict=True):
        channel.add_(offset)


def _coarsen(
    image: torch.Tensor,
    random: np.random.RandomState,
    zooms: tuple[float, float],
    lengths: Sequence[float],
) -> None:
    """Take the nearest voxels of a coarser grid, and interpolate them linearly.

    An axis whose voxels are as long as the coarser ones stays as it is.
    """
    zoom = random.uniform(*zooms)
    shape = image.shape[1:]
    # Beyond 1, the zoom is of the same size along all axes.
    factors = [min(zoom * length, max(zoom, 1)) for length in lengths]
    coarse = [max(1, round(size * f)) for size, f in zip(shape, factors, strict=True)]
    weights = [
        weights_between(few, size, "bilinear", False).T
        for few, size in zip(coarse, shape, strict=True)
    ]
    for channel in image:
        few = functional.interpolate(channel[None, None], size=coarse)[0, 0]
        channel.copy_(multiplied(few, weights))


def _gamma(
    image: torch.Tensor, random: np.random.RandomState, exponents: tuple[float, float]
) -> None:
    """Gamma curve on the range of each channel, which keeps its mean and standard deviation.

    MONAI's takes one range for all channels, and that of a bright t1c leaves the others unchanged.
    """
    for channel, exponent in zip(image, random.uniform(*exponents, len(image)), strict=True):
        low, high = torch.aminmax(channel)
        mean = channel.mean()
        length = _length(channel.sub_(mean))
        channel.add_(mean - low).div_((high - low).clamp_min(1e-6))
        # Rounding may have made the darkest voxel negative.
        channel.clamp_min_(0).pow_(float(exponent))
        channel.sub_(channel.mean())
        channel.mul_(length / _length(channel).clamp_min(1e-6)).add_(mean)


def _length(channel: torch.Tensor) -> torch.Tensor:
    """Of a channel as a vector. `std` of torch takes 25 times as long as this product."""
    flat = channel.view(-1)
    return torch.dot(flat, flat).sqrt()
