"""Random changes of training patches.

A new array of a patch costs more than most changes, since the system provides it page by page. So
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
    subset: float = 0.0,
) -> Compose:
    """Random changes of a training patch; changes with probability 0 are left out.

    First the patch is mirrored, rotated, scaled and warped, then the grey values of the image
    change; background stays 0. Random numbers depend only on `Compose.set_random_state`.

    Args:
        config: Probability and strength of each change.
        spatial_dims: 2 or 3.
        fill: Number of the channel that replaces a dropped channel; None: zeros.
        spacing_mm: Spacing of a patch along each axis; None: the same along all.
        subset: Probability that only a random subset of the channels is kept, in place of
            `config.channel_dropout`; see `RandomSubset`.

    Returns:
        Transform of `{"image": (C, *), "mask": (R, *), "tissue": (1, *)}`, which stay unchanged.
        The image becomes float32; masks keep their type, so they may be bits of one channel.
        Without `tissue`, voxels that are not 0 in any channel are tissue.
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
        RandomSubset(subset) if subset else RandomDropout(c.channel_dropout, fill),
    ]
    chosen = [[step for step in steps if step.prob] for steps in (spatial, intensity)]
    return Compose([*chosen[0], WithinTissue(chosen[1], is_optional=bool(subset))])


# Key for whether the case has each channel, while its grey values change.
_PRESENT = "present"


class WithinTissue(Compose):
    """Changes a copy of the image, then sets its background to 0 again.

    Args:
        transforms: The changes.
        is_optional: Whether a channel of zeros is one that the case lacks, which stays 0.
    """

    def __init__(self, transforms: list[Any], *, is_optional: bool = False) -> None:
        super().__init__(transforms)
        self.is_optional = is_optional

    # MONAI's Compose names this argument differently from its Transform.
    def __call__(self, input_: Sample, *args: Any, **kwargs: Any) -> Sample:  # type: ignore[override]
        image = as_float(input_["image"])
        if not self.transforms:
            return {**input_, "image": image}
        factor = _tissue(input_, image).float()
        present = [not self.is_optional or bool(channel.any()) for channel in image]
        given: dict[str, Any] = {**input_, "image": image, _PRESENT: present}
        output: dict[str, Any] = super().__call__(given, *args, **kwargs)
        for channel, is_present in zip(output["image"], output.pop(_PRESENT), strict=True):
            channel.mul_(factor if is_present else 0.0)
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
    """Calls `change(image, random)` with a probability; this changes the image in place."""

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

    With `fill`, that channel replaces the others and always stays. Without, zeros do, and if all
    channels would be dropped, a random channel stays.
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


class RandomSubset(RandomizableTransform):
    """Keeps, with a probability, a random subset of the channels; the others become 0, in place.

    Each subset other than none and all is as likely as any other. Of a case that lacks channels,
    which are 0, at least one that it has is kept.
    """

    def __call__(self, data: Sample) -> Sample:
        self.randomize(None)
        if self._do_transform:
            image = data["image"]
            # Bit c of the numbers is set if channel c is there, or kept.
            there = sum(1 << number for number, present in enumerate(data[_PRESENT]) if present)
            kept = int(self.R.randint(1, 2 ** len(image) - 1))
            while there and not kept & there:
                kept = int(self.R.randint(1, 2 ** len(image) - 1))
            for number, channel in enumerate(image):
                if not kept >> number & 1:
                    channel.zero_()
        return data


def _shade(image: torch.Tensor, random: np.random.RandomState, largest: float) -> None:
    """Multiply each channel, relative to its darkest voxel, by a smooth factor, as a coil does."""
    controls = control_points(random, len(image), [_SHADING_POINTS] * (image.ndim - 1))
    for channel, points in zip(image, controls, strict=True):
        low = channel.min()
        factor = smooth_field(points, channel.shape).mul_(largest).exp_()
        channel.sub_(low).mul_(factor).add_(low)


def _add_noise(image: torch.Tensor, random: np.random.RandomState, largest_std: float) -> None:
    # Torch draws normal numbers three times as fast as numpy, which MONAI uses.
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
    """Gaussian blur, equally wide in mm along all axes: a product with a band matrix along each."""
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
    """Stretch the values of each channel about their mean, clipped to their old range."""
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
    """Take the nearest voxels on a coarser grid, and interpolate them linearly.

    An axis whose voxels are already as long as the coarser voxels stays unchanged.
    """
    zoom = random.uniform(*zooms)
    shape = image.shape[1:]
    # A zoom above 1 is the same along all axes.
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
    """Gamma curve on the range of each channel, with its mean and standard deviation kept.

    MONAI uses one range for all channels; that of a bright t1c leaves the others nearly unchanged.
    """
    for channel, exponent in zip(image, random.uniform(*exponents, len(image)), strict=True):
        low, high = torch.aminmax(channel)
        mean = channel.mean()
        length = _length(channel.sub_(mean))
        channel.add_(mean - low).div_((high - low).clamp_min(1e-6))
        # Rounding may make the darkest voxel negative.
        channel.clamp_min_(0).pow_(float(exponent))
        channel.sub_(channel.mean())
        channel.mul_(length / _length(channel).clamp_min(1e-6)).add_(mean)


def _length(channel: torch.Tensor) -> torch.Tensor:
    """Euclidean norm of a channel. `std` of torch takes 25 times as long as this product."""
    flat = channel.view(-1)
    return torch.dot(flat, flat).sqrt()
