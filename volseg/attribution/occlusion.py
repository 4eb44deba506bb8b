"""Occlusion: how much the probability of a region falls when a box of the image is taken away.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014,
https://arxiv.org/abs/1311.2901. Neither captum's Occlusion nor MONAI's OcclusionSensitivity does it
here: both run the network on the whole image for each box and for one region at a time, and neither
joins windows.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from volseg.attribution.baseline import neutral_image
from volseg.attribution.region_means import Means, Place, RegionMeans
from volseg.attribution.target import Target
from volseg.errors import ConfigError
from volseg.progress import clock, track

logger = logging.getLogger(__name__)

#: Sides of boxes in mm, of which the smallest is taken that needs no more than `PASSES`.
SIDES_MM = (8.0, 10.0, 12.0, 16.0, 20.0, 24.0, 32.0, 40.0, 48.0, 64.0, 96.0, 128.0)
PASSES = 1500
# So many windows take days on a CPU.
_MOST_PASSES = 100_000


@dataclass(frozen=True, eq=False)
class OcclusionMaps:
    """Maps of several regions, from the same passes.

    Attributes:
        maps: float32 (R, I, J, K): fall of the mean probability of the region's mask, interpolated
            between the centres of the boxes; negative where it rises, 0 outside the tissue.
        passes: Windows that went through the network.
    """

    maps: npt.NDArray[np.float32]
    passes: int


def occlusion_maps(targets: Sequence[Target], side_mm: float) -> OcclusionMaps:
    """Occlusion maps of several regions; see `OcclusionMaps`.

    A grid of boxes covers the image; a network of slices gets boxes of one slice. Each box is made
    neutral in all channels (see `neutral_image`), in the windows that hold a part of it and of a
    mask; the other windows cannot change the result.

    Args:
        targets: Targets of one model and one image: a map for each.
        side_mm: Side of the boxes.

    Raises:
        ConfigError: If boxes of this side need more than 100,000 windows.
    """
    first, work = targets[0], _Occluded.of(targets)
    means, boxes = work.means, Boxes.of(first, side_mm)
    changes = work.changes(boxes)
    if len(changes) > _MOST_PASSES:
        raise ConfigError(
            f"boxes of {side_mm:g} mm need {len(changes):,} passes, but at most {_MOST_PASSES:,} "
            "are made",
            remedy="give larger boxes with --box",
        )
    begun = time.monotonic()
    whole = list(means.parts(means.windows(work.images)))
    seconds = (time.monotonic() - begun) / max(len(whole), 1) * len(changes)
    logger.info(
        "boxes of %g mm are made empty, each in turn: %d windows, about %s",
        side_mm,
        len(changes),
        clock(seconds),
    )
    falls = np.zeros((len(targets), math.prod(boxes.shape)))
    for number, fall in track(work.falls(whole, boxes, changes), "occluding", len(changes)):
        falls[:, number] += fall
    maps = boxes.interpolated(falls.reshape(-1, *boxes.shape)) * first.tissue
    return OcclusionMaps(maps.astype(np.float32), len(changes) + len(means.places))


def automatic_side(targets: Sequence[Target]) -> float:
    """The smallest of `SIDES_MM` with at most `PASSES` windows for these targets together."""
    work = _Occluded.of(targets)
    fitting = (side for side in SIDES_MM if len(work.changes(Boxes.of(targets[0], side))) <= PASSES)
    return next(fitting, SIDES_MM[-1])


@dataclass(frozen=True)
class Boxes:
    """A grid of boxes that covers an image (I, J, K); those at the border may reach beyond it.

    Attributes:
        sizes: Voxels of the image.
        sides: Voxels of a box along each axis.
    """

    sizes: tuple[int, ...]
    sides: tuple[int, ...]

    @classmethod
    def of(cls, target: Target, side_mm: float) -> Boxes:
        """Boxes of about this side, at least one voxel; of one slice if the network is 2D."""
        config = target.model.config
        sides = [max(1, round(side_mm / mm)) for mm in config.data.spacing_mm]
        return cls(target.mask.shape, (*sides[:2], 1) if config.by_slice else tuple(sides))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of boxes along each axis."""
        return tuple(-(-size // side) for size, side in zip(self.sizes, self.sides, strict=True))

    @cached_property
    def starts(self) -> tuple[npt.NDArray[np.intp], ...]:
        """First voxel of the boxes along each axis; the first may lie before the image."""
        axes = zip(self.sizes, self.sides, self.shape, strict=True)
        return tuple(
            np.arange(number) * side - (number * side - size) // 2 for size, side, number in axes
        )

    def box(self, number: int) -> tuple[slice, ...]:
        """A box, as far as it lies in the image; numbers run along the last axis first."""
        places = np.unravel_index(number, self.shape)
        starts = [along[at] for along, at in zip(self.starts, places, strict=True)]
        return tuple(
            slice(max(int(start), 0), min(int(start) + side, size))
            for start, side, size in zip(starts, self.sides, self.sizes, strict=True)
        )

    def interpolated(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values (R, *shape) of the boxes, linearly between their centres: (R, I, J, K)."""
        for axis, (starts, side, size) in enumerate(
            zip(self.starts, self.sides, self.sizes, strict=True), start=1
        ):
            centres = starts + (side - 1) / 2
            columns = [np.interp(np.arange(size), centres, one) for one in np.eye(len(centres))]
            values = np.moveaxis(np.moveaxis(values, axis, -1) @ np.array(columns), -1, axis)
        return values


@dataclass(frozen=True, eq=False)
class _Occluded:
    """Means of an image of which one box at a time is neutral.

    Attributes:
        means: The means.
        images: The image, as `RegionMeans.images` gives it.
        neutral: The neutral image, likewise.
    """

    means: RegionMeans
    images: torch.Tensor
    neutral: torch.Tensor

    @classmethod
    def of(cls, targets: Sequence[Target]) -> _Occluded:
        """Means of targets of one model and one image."""
        means, first = RegionMeans(targets), targets[0]
        return cls(means, means.images(first.image), means.images(neutral_image(first)))

    @cached_property
    def _differs(self) -> torch.Tensor:
        return self.images != self.neutral

    def changes(self, boxes: Boxes) -> npt.NDArray[np.intp]:
        """Boxes with tissue in windows that hold a part of the box and of a mask.

        Returns:
            (N, 2): number of the box, in ascending order, and number of the window.
        """
        found = [np.empty((0, 2), np.intp)]
        for window in range(len(self.means.places)):
            numbers = self._touched(boxes, self.means.places[window])
            found.append(np.stack([numbers, np.full_like(numbers, window)], axis=1))
        changes = np.concatenate(found)
        return changes[np.argsort(changes[:, 0], kind="stable")]

    def _touched(self, boxes: Boxes, window: Place) -> npt.NDArray[np.intp]:
        """Numbers of the boxes with tissue in a window."""
        image = self.means.located(tuple(slice(0, size) for size in boxes.sizes)).box
        part = _common(window.box, image)
        if part is None:
            return np.empty(0, np.intp)
        tissue = self._differs[Place(window.image, part).index].any(0).numpy()
        places = []
        for axis, (of, whole) in enumerate(zip(part, image, strict=True)):
            voxels = np.arange(of.start, of.stop) - whole.start
            along = (voxels - boxes.starts[axis][0]) // boxes.sides[axis]
            places.append(np.unique(along))
            firsts = np.searchsorted(along, places[-1])
            tissue = np.logical_or.reduceat(tissue, firsts, axis)
        inside = [of[at] for of, at in zip(places, np.nonzero(tissue), strict=True)]
        if len(inside) < len(boxes.shape):
            inside.append(np.full_like(inside[0], window.image))
        return np.ravel_multi_index(tuple(inside), boxes.shape)

    def falls(
        self, whole: Sequence[Means], boxes: Boxes, changes: npt.NDArray[np.intp]
    ) -> Iterator[tuple[int, Means]]:
        """Number of the box of each change, and how far the change lowers the means.

        Args:
            whole: The part of each window of the unchanged image in the means.
            boxes: The boxes.
            changes: The changes, as `changes` gives them.
        """
        windows = (self._occluded(boxes.box(number), window) for number, window in changes)
        for (number, window), part in zip(changes, self.means.parts(windows), strict=True):
            yield number, whole[window] - part

    def _occluded(self, box: tuple[slice, ...], number: int) -> tuple[Place, torch.Tensor]:
        """A window, in which a box is neutral."""
        place = self.means.places[number]
        part = _common(self.means.located(box).box, place.box)
        assert part is not None, "the box lies in the window"
        window = self.images[place.index].clone()
        pairs = zip(part, place.box, strict=True)
        within = [slice(of.start - whole.start, of.stop - whole.start) for of, whole in pairs]
        window[slice(None), *within] = self.neutral[Place(place.image, part).index]
        return place, window


def _common(one: tuple[slice, ...], other: tuple[slice, ...]) -> tuple[slice, ...] | None:
    """The common part of two boxes, None if there is none."""
    pairs = zip(one, other, strict=True)
    both = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in pairs)
    return both if all(part.start < part.stop for part in both) else None
