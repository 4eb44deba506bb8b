"""Spatial part of `augmentation`: patches mirrored, rotated, scaled and warped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from monai.transforms import RandomizableTransform
from torch.nn import functional

from volseg.config import AugmentationConfig
from volseg.transforms.axes import control_points, empty, multiplied, smooth_field, voxel_lengths

Sample = dict[str, torch.Tensor]

# Planes that are resampled at a time: they fit in a processor's cache.
_PLANES = 8


def as_float(image: torch.Tensor) -> torch.Tensor:
    """Copy of an image as float32."""
    return empty(image.shape).copy_(image)


class RandomFlip(RandomizableTransform):
    """Mirrors each axis with a probability; makes one copy, where MONAI makes three."""

    def __init__(self, probability: float, spatial_dims: int) -> None:
        super().__init__(probability)
        self.spatial_dims = spatial_dims

    def __call__(self, data: Sample) -> Sample:
        drawn = self.R.rand(self.spatial_dims) < self.prob
        axes = tuple(axis for axis, flipped in enumerate(drawn, start=1) if flipped)
        return {name: _flipped(value, axes) for name, value in data.items()} if axes else data


def _flipped(value: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    # Torch has no views with negative steps.
    array = value.numpy()
    result = empty(array.shape, array.dtype)
    result.numpy()[...] = np.flip(array, axes)
    return result


class RandomWarp(RandomizableTransform):
    """Rotates, scales and warps about the centre, each with its own probability.

    MONAI has one probability for all three. The image is interpolated linearly, once; masks take
    the nearest voxel; a voxel is `tissue` if any tissue contributes to it; voxels from outside are
    0.

    Args:
        config: Probability and strength of each change.
        spacing_mm: Spacing of a patch, so that angles and lengths are right in mm; None: the same
            along all axes.
    """

    def __init__(
        self, config: AugmentationConfig, spacing_mm: Sequence[float] | None = None
    ) -> None:
        super().__init__(max(config.rotate, config.scale, config.elastic))
        self.config = config
        self.spacing_mm = spacing_mm

    def __call__(self, data: Sample) -> Sample:
        shape = data["image"].shape[1:]
        degrees, scale = np.zeros(3 if len(shape) == 3 else 1), 1.0
        if self.R.rand() < self.config.rotate:
            degrees = self.R.uniform(-1, 1, len(degrees)) * self.config.rotate_degrees
        if self.R.rand() < self.config.scale:
            scale = self.R.uniform(*self.config.scale_range)
        warped = self.R.rand() < self.config.elastic
        if not degrees.any() and not warped:
            return data if scale == 1 else _with_tissue(data, partial(_scaled, scale=scale))
        lengths = np.array(voxel_lengths(self.spacing_mm, len(shape)))
        matrix = rotation(degrees) * (lengths / lengths[:, None]) / scale
        if not warped:
            return _with_tissue(data, PatchResampler(shape, matrix))
        displacement = self._displacement(shape, lengths)
        return _with_tissue(
            data, PatchResampler(shape, matrix, displacement, self.config.elastic_range)
        )

    def _displacement(self, shape: Sequence[int], lengths: npt.NDArray[np.float64]) -> torch.Tensor:
        """Smooth field (axes, *shape) in voxels, from random vectors at control points.

        Splines between control points, as in Ronneberger et al. (MICCAI 2015, section 3.1).
        Distances of points and lengths of vectors, in mm, are the same along all axes.
        """
        spacing, largest = self.config.elastic_spacing, self.config.elastic_range
        sizes = np.multiply(shape, lengths)
        points = [max(2, round(size / spacing) + 1) for size in sizes]
        result = empty((len(shape), *shape))
        fields = control_points(self.R, len(shape), points)
        for field, controls, length in zip(result, fields, lengths, strict=True):
            torch.mul(smooth_field(controls, shape), largest / length, out=field)
        return result


def _with_tissue(data: Sample, move: Callable[[Sample], Sample]) -> Sample:
    """Move a sample, with its tissue as an extra channel of the image."""
    if "tissue" not in data:
        return move(data)
    image = data["image"]
    joined = torch.cat([image, data["tissue"].to(image.dtype)])
    moved = move({**data, "image": joined})
    return {**moved, "image": moved["image"][:-1], "tissue": moved["image"][-1:] > 0}


def _scaled(data: Sample, scale: float) -> Sample:
    """Scale about the centre, axis by axis: in a third of the time of `PatchResampler`."""
    places = [
        (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) / scale + (n - 1) / 2
        for n in data["image"].shape[1:]
    ]
    image, mask = data["image"], data["mask"]
    scaled = empty(image.shape)
    # Linear weights; voxels beyond the edge count as 0.
    hats = [(1 - (p[:, None] - torch.arange(len(p))).abs()).clamp_min(0).float() for p in places]
    for target, channel in zip(scaled, image, strict=True):
        target.copy_(multiplied(channel.float(), hats))
    for axis, place in enumerate(places, start=1):
        nearest = place.round().long()
        inside = (nearest >= 0) & (nearest < len(place))
        mask = mask.index_select(axis, nearest.clamp(0, len(place) - 1))
        mask.index_fill_(axis, (~inside).nonzero()[:, 0], 0)
    return {**data, "image": scaled, "mask": mask}


class PatchResampler:
    """Resamples a patch: a voxel at x from the centre takes the value at `matrix` x + displacement.

    Args:
        shape: Shape of the patch, without channels.
        matrix: Matrix (axes, axes), in voxels.
        displacement: Field (axes, *shape), in voxels.
        largest: Largest displacement along any axis, in voxels.
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
        # Torch counts axes from the last, with coordinates from -1 to 1 along each.
        self.units = 1 / half[::-1]
        self.steps = [
            torch.from_numpy(np.outer(matrix[::-1, axis] * self.units, np.arange(n) + 0.5 - n / 2))
            for axis, n in enumerate(shape)
        ]

    def __call__(self, data: Sample) -> Sample:
        image = data["image"].float()
        moved = empty(image.shape)
        # A slice is resampled at once, since it is no larger than a few planes of a volume.
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
        # The first axis comes last: the sum over the other axes is small.
        for axis in reversed(range(dims)):
            step = self.steps[axis][:, box[axis]].float()
            grid = grid + step.reshape(dims, *[-1 if a == axis else 1 for a in range(dims)])
        if self.displacement is not None:
            unit = torch.from_numpy(self.units.copy()).float().reshape(-1, *[1] * dims)
            grid = grid + self.displacement[(slice(None), *box)].flip(0) * unit
        places = grid.movedim(0, -1)[None]
        return functional.grid_sample(value[None], places, mode, align_corners=False)[0]

    def _box(self, mask: torch.Tensor) -> tuple[slice, ...]:
        """Part of the patch that the mask may reach; () if the mask is empty."""
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
