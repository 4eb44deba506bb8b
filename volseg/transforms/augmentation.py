"""Random changes of training patches.

A fresh array of a patch costs more than most changes do: the system hands it out page by page. So
grey values change in place, channel by channel, in the one copy that `WithinTissue` makes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.transforms import Compose, RandomizableTransform
from torch.nn import functional

from volseg.config import AugmentationConfig

Sample = dict[str, torch.Tensor]

_SHADING_POINTS = 3
# Rows that are multiplied, and planes that are resampled, at a time: they fit a processor's cache.
_ROWS, _PLANES = 32, 8
_NEGLIGIBLE = 1e-6


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
        Transform of `{"image": (C, *), "mask": (R, *)}`, which it leaves as they are. The image
        becomes float32; masks keep their type, and so may be bits of one channel.
    """
    c = config
    spatial: list[Any] = [RandomFlip(c.flip, spatial_dims), RandomWarp(c)]
    spread = c.intensity_range
    intensity: list[Any] = [
        RandomChange(c.bias_field, partial(_shade, largest=c.bias_field_range)),
        RandomChange(c.noise, partial(_add_noise, largest_std=c.noise_std)),
        RandomChange(c.blur, partial(_blur, sigmas=c.blur_sigma)),
        RandomChange(c.contrast, partial(_stretch, factors=c.contrast_range)),
        RandomChange(c.intensity_scale, partial(_scale, spread=spread)),
        RandomChange(c.intensity_shift, partial(_shift, spread=spread)),
        RandomChange(c.low_resolution, partial(_coarsen, zooms=c.low_resolution_range)),
        RandomChange(c.gamma, partial(_gamma, exponents=c.gamma_range)),
        RandomDropout(c.channel_dropout, fill),
    ]
    chosen = [[step for step in steps if step.prob] for steps in (spatial, intensity)]
    return Compose([*chosen[0], WithinTissue(chosen[1])])


def empty(shape: Sequence[int], dtype: npt.DTypeLike = np.float32) -> torch.Tensor:
    """Memory of its own. Numpy asks for large pages, so it comes several times as fast."""
    return torch.from_numpy(np.empty(tuple(shape), dtype))


def _as_float(image: torch.Tensor) -> torch.Tensor:
    """Copy of an image, float32."""
    return empty(image.shape).copy_(image)


class WithinTissue(Compose):
    """Changes of the image, in a copy, after which its background is 0 again."""

    def __call__(self, input_: Sample, *args: Any, **kwargs: Any) -> Sample:
        image = _as_float(input_["image"])
        if not self.transforms:
            return {**input_, "image": image}
        tissue = image[0] != 0
        for channel in image[1:]:
            tissue |= channel != 0
        output: Sample = super().__call__({**input_, "image": image}, *args, **kwargs)
        factor = tissue.float()
        for channel in output["image"]:
            channel.mul_(factor)
        return output


class RandomFlip(RandomizableTransform):
    """Mirrors each axis with a probability; one copy, where MONAI makes three."""

    def __init__(self, probability: float, spatial_dims: int) -> None:
        super().__init__(probability)
        self.spatial_dims = spatial_dims

    def __call__(self, data: Sample) -> Sample:
        drawn = self.R.rand(self.spatial_dims) < self.prob
        axes = tuple(axis for axis, flipped in enumerate(drawn, start=1) if flipped)
        return {name: _flipped(value, axes) for name, value in data.items()} if axes else data


def _flipped(value: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    # Torch has no views that run backwards.
    array = value.numpy()
    result = empty(array.shape, array.dtype)
    result.numpy()[...] = np.flip(array, axes)
    return result


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
        if not degrees.any() and not warped:
            return data if scale == 1 else _scaled(data, scale)
        matrix = rotation(degrees) / scale
        if not warped:
            return Moved(shape, matrix)(data)
        return Moved(shape, matrix, self._displacement(shape), self.config.elastic_range)(data)

    def _displacement(self, shape: Sequence[int]) -> torch.Tensor:
        """Smooth field (axes, *shape) in voxels, from random vectors at control points.

        Splines between control points, as Ronneberger et al. warp (MICCAI 2015, section 3.1).
        """
        points = [max(2, round(size / self.config.elastic_spacing) + 1) for size in shape]
        result = empty((len(shape), *shape))
        for field, controls in zip(result, _controls(self.R, len(shape), points), strict=True):
            torch.mul(_smooth(controls, shape), self.config.elastic_range, out=field)
        return result


def _scaled(data: Sample, scale: float) -> Sample:
    """Scale about the centre: axis by axis, in a third of the time of `Moved`."""
    places = [
        (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) / scale + (n - 1) / 2
        for n in data["image"].shape[1:]
    ]
    image, mask = _as_float(data["image"]), data["mask"]
    # Linear weights; beyond the edge they have nothing to act on.
    hats = [(1 - (p[:, None] - torch.arange(len(p))).abs()).clamp_min(0).float() for p in places]
    for channel in image:
        channel.copy_(_multiplied(channel, hats))
    for axis, place in enumerate(places, start=1):
        nearest = place.round().long()
        inside = (nearest >= 0) & (nearest < len(place))
        mask = mask.index_select(axis, nearest.clamp(0, len(place) - 1))
        mask.index_fill_(axis, (~inside).nonzero()[:, 0], 0)
    return {**data, "image": image, "mask": mask}


class Moved:
    """Resamples a patch: a voxel at x from the centre shows what was at `matrix` x + displacement.

    Args:
        shape: Of the patch, without channels.
        matrix: In voxels.
        displacement: (axes, *shape), in voxels.
        largest: No displacement is longer along any axis.
    """

    def __init__(
        self,
        shape: Sequence[int],
        matrix: npt.NDArray[np.float64],
        displacement: torch.Tensor | None = None,
        largest: float = 0,
    ) -> None:
        self.shape, self.matrix = shape, matrix
        self.displacement, self.largest = displacement, largest
        half = np.array(shape) / 2
        # Torch counts axes from the last, and from -1 to 1 along each.
        self.units = 1 / half[::-1]
        self.steps = [
            torch.from_numpy(np.outer(matrix[::-1, axis] * self.units, np.arange(n) + 0.5 - n / 2))
            for axis, n in enumerate(shape)
        ]

    def __call__(self, data: Sample) -> Sample:
        image = _as_float(data["image"])
        moved = empty(image.shape)
        # As many voxels at a time whether the patch is a volume or a slice.
        planes = _PLANES if len(self.shape) == 3 else len(moved[0])
        for start in range(0, self.shape[0], planes):
            box = (slice(start, start + planes), *[slice(None)] * (len(self.shape) - 1))
            moved[(slice(None), *box)] = self._sampled(image, box, "bilinear")
        mask = torch.zeros_like(data["mask"])
        if box_of_mask := self._box(data["mask"]):
            values = self._sampled(data["mask"].float(), box_of_mask, "nearest")
            mask[(slice(None), *box_of_mask)] = values.to(mask.dtype)
        return {**data, "image": moved, "mask": mask}

    def _sampled(self, value: torch.Tensor, box: Sequence[slice], mode: str) -> torch.Tensor:
        dims = len(self.shape)
        grid = torch.zeros(())
        # The first axis last: what the others add up to is small.
        for axis in reversed(range(dims)):
            step = self.steps[axis][:, box[axis]].float()
            grid = grid + step.reshape(dims, *[-1 if a == axis else 1 for a in range(dims)])
        if self.displacement is not None:
            unit = torch.from_numpy(self.units.copy()).float().reshape(-1, *[1] * dims)
            grid = grid + self.displacement[(slice(None), *box)].flip(0) * unit
        places = grid.movedim(0, -1)[None]
        return functional.grid_sample(value[None], places, mode, align_corners=False)[0]

    def _box(self, mask: torch.Tensor) -> tuple[slice, ...]:
        """Part of the patch that may show some of the mask; () if there is none."""
        occupied = mask.amax(dim=0)
        corners = []
        for axis, size in enumerate(self.shape):
            others = [a for a in range(len(self.shape)) if a != axis]
            found = occupied.amax(dim=others).nonzero()
            if not len(found):
                return ()
            margin, middle = 1 + self.largest, (size - 1) / 2
            corners.append([found[0].item() - margin - middle, found[-1].item() + margin - middle])
        places = np.stack(np.meshgrid(*corners, indexing="ij")).reshape(len(corners), -1)
        shown = np.linalg.inv(self.matrix) @ places
        low = np.floor(shown.min(axis=1) + (np.array(self.shape) - 1) / 2)
        high = np.ceil(shown.max(axis=1) + (np.array(self.shape) - 1) / 2) + 1
        ends = zip(low, high, self.shape, strict=True)
        return tuple(slice(max(0, int(a)), max(0, min(n, int(b)))) for a, b, n in ends)


def _controls(random: np.random.RandomState, fields: int, points: Sequence[int]) -> torch.Tensor:
    """Values from -1 to 1 at the control points of some fields, (F, *points)."""
    return torch.from_numpy(random.uniform(-1, 1, (fields, *points))).float()


def _smooth(controls: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Field (*shape) interpolated between control points, axis by axis."""
    field, mode = controls, "bicubic" if len(shape) == 2 else "bilinear"
    for points, size in zip(controls.shape, shape, strict=True):
        field = torch.tensordot(field, _weights(points, size, mode, True), dims=([0], [0]))
    return field.clamp_(-1, 1)  # cubic splines overshoot


def _weights(points: int, size: int, mode: str, align_corners: bool) -> torch.Tensor:
    """Share of each point in each of the places between them, (points, size)."""
    single = torch.eye(points)[None, None]
    options: dict[str, Any] = {"mode": mode, "align_corners": align_corners}
    return functional.interpolate(single, size=(points, size), **options)[0, 0]


def _multiplied(channel: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """Multiply along each axis by a matrix (new size, size).

    Band matrices are quick: of each block of rows, only the columns that are not 0 are used.
    """
    # The first axis last: where sizes grow, it is the one whose product is quickest.
    for axis in reversed(range(channel.ndim)):
        shape = (*channel.shape[:axis], len(matrices[axis]), *channel.shape[axis + 1 :])
        target = empty(shape)
        _multiply_axis(channel, matrices[axis], axis, target)
        channel = target
    return channel


def _multiply_axis(
    source: torch.Tensor, matrix: torch.Tensor, axis: int, target: torch.Tensor
) -> None:
    before = math.prod(source.shape[:axis])
    from_, to = (array.view(before, array.shape[axis], -1) for array in (source, target))
    for start in range(0, len(matrix), _ROWS):
        rows = slice(start, start + _ROWS)
        used = matrix[rows].any(dim=0).nonzero()
        if not len(used):
            to[:, rows] = 0
            continue
        columns = slice(int(used[0]), int(used[-1]) + 1)
        block = matrix[rows, columns]
        if axis == source.ndim - 1:
            torch.mm(from_[:, columns, 0], block.T, out=to[:, rows, 0])
        else:
            torch.bmm(block.expand(before, -1, -1), from_[:, columns], out=to[:, rows])


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

    By the channel `fill`, which stays; without one by zeros, and one, drawn at random, stays.
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
    controls = _controls(random, len(image), [_SHADING_POINTS] * (image.ndim - 1))
    for channel, points in zip(image, controls, strict=True):
        low = channel.min()
        factor = _smooth(points, channel.shape).mul_(largest).exp_()
        channel.sub_(low).mul_(factor).add_(low)


def _add_noise(image: torch.Tensor, random: np.random.RandomState, largest_std: float) -> None:
    # Torch draws normal numbers three times as fast as numpy, which MONAI asks.
    generator = torch.Generator().manual_seed(int(random.randint(2**31)))
    std = random.uniform(0, largest_std)
    noise = empty(image.shape[1:])
    for channel in image:
        channel.add_(noise.normal_(generator=generator), alpha=std)


def _blur(image: torch.Tensor, random: np.random.RandomState, sigmas: tuple[float, float]) -> None:
    """Gaussian blur, as a product with a band matrix along each axis."""
    sigma = random.uniform(*sigmas)
    matrices = []
    for size in image.shape[1:]:
        places = torch.arange(size)
        weights = torch.exp(-(((places[:, None] - places) / sigma) ** 2) / 2)
        weights[weights < _NEGLIGIBLE] = 0
        matrices.append(weights / weights.sum(dim=1, keepdim=True))
    for channel in image:
        channel.copy_(_multiplied(channel, matrices))


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
    image: torch.Tensor, random: np.random.RandomState, zooms: tuple[float, float]
) -> None:
    """Take the nearest voxels of a coarser grid, and interpolate them linearly."""
    zoom = random.uniform(*zooms)
    shape = image.shape[1:]
    coarse = [max(1, round(size * zoom)) for size in shape]
    weights = [
        _weights(few, size, "bilinear", False).T for few, size in zip(coarse, shape, strict=True)
    ]
    for channel in image:
        few = functional.interpolate(channel[None, None], size=coarse)[0, 0]
        channel.copy_(_multiplied(few, weights))


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
