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
from itertools import product
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
        side_mm: Side of the boxes.
        passes: Windows that went through the network.
    """

    maps: npt.NDArray[np.float32]
    side_mm: float
    passes: int


def occlusion_maps(targets: Sequence[Target], side_mm: float | None = None) -> OcclusionMaps:
    """Occlusion maps of several regions; see `OcclusionMaps`.

    A grid of boxes covers the image; a network of slices gets boxes of one slice. Each box is made
    neutral in all channels (see `neutral_image`), in the windows that hold a part of it and of a
    mask; the other windows cannot change the result.

    Args:
        targets: Targets of one model and one image: a map for each.
        side_mm: Side of the boxes; None: the smallest of `SIDES_MM` with at most `PASSES` windows.

    Raises:
        ConfigError: If boxes of this side need more than 100,000 windows.
    """
    first, means = targets[0], RegionMeans(targets)
    work = _Occluded(means, means.images(first.image), means.images(neutral_image(first)))
    for side in SIDES_MM if side_mm is None else (side_mm,):
        boxes = Boxes.of(first, side)
        changes = work.changes(boxes)
        if len(changes) <= PASSES:
            break
    if len(changes) > _MOST_PASSES:
        raise ConfigError(
            f"boxes of {side:g} mm need {len(changes):,} passes, but at most {_MOST_PASSES:,} are "
            "made",
            remedy="use larger boxes",
        )
    begun = time.monotonic()
    whole = list(means.parts(means.windows(work.images)))
    seconds = (time.monotonic() - begun) / max(len(whole), 1) * len(changes)
    logger.info(
        "boxes of %g mm are made empty, each in turn: %d windows, about %s",
        side,
        len(changes),
        clock(seconds),
    )
    falls = np.zeros((len(targets), math.prod(boxes.shape)))
    for number, fall in track(work.falls(whole, changes), "occluding", len(changes)):
        falls[:, number] += fall
    maps = boxes.interpolated(falls.reshape(-1, *boxes.shape)) * first.tissue
    return OcclusionMaps(maps.astype(np.float32), side, len(changes) + len(means.places))


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

    def __iter__(self) -> Iterator[tuple[slice, ...]]:
        """Each box, as far as it lies in the image, the last axis fastest."""
        for starts in product(*self.starts):
            yield tuple(
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


@dataclass(frozen=True)
class _Change:
    """A box that lies in a window.

    Attributes:
        box: Number of the box.
        window: Number of the window among the places of the means.
        part: The part of the box in the window, in voxels of the padded image.
    """

    box: int
    window: int
    part: tuple[slice, ...]


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

    def changes(self, boxes: Boxes) -> list[_Change]:
        """The boxes with tissue, each in all windows that hold a part of it and of a mask."""
        differs = self.images != self.neutral
        of_image: dict[int, list[int]] = {}
        for window, place in enumerate(self.means.places):
            of_image.setdefault(place.image, []).append(window)
        found = []
        for number, box in enumerate(boxes):
            there = self.means.located(box)
            for window in of_image.get(there.image, ()):
                part = _common(there.box, self.means.places[window].box)
                if part is not None and differs[Place(there.image, part).index].any():
                    found.append(_Change(number, window, part))
        return found

    def falls(
        self, whole: Sequence[Means], changes: Sequence[_Change]
    ) -> Iterator[tuple[int, Means]]:
        """Number of the box of each change, and how far the change lowers the means.

        Args:
            whole: The part of each window of the unchanged image in the means.
            changes: The changes.
        """
        windows = (self._occluded(change) for change in changes)
        for change, part in zip(changes, self.means.parts(windows), strict=True):
            yield change.box, whole[change.window] - part

    def _occluded(self, change: _Change) -> tuple[Place, torch.Tensor]:
        place = self.means.places[change.window]
        window = self.images[place.index].clone()
        pairs = zip(change.part, place.box, strict=True)
        within = [slice(of.start - whole.start, of.stop - whole.start) for of, whole in pairs]
        window[slice(None), *within] = self.neutral[Place(place.image, change.part).index]
        return place, window


def _common(one: tuple[slice, ...], other: tuple[slice, ...]) -> tuple[slice, ...] | None:
    """The common part of two boxes, None if there is none."""
    pairs = zip(one, other, strict=True)
    both = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in pairs)
    return both if all(part.start < part.stop for part in both) else None
