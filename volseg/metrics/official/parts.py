"""Numbered parts of a region: lesions of the reference, or predicted components."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects

from volseg.images.components import components, dilated
from volseg.metrics.border_distances import border
from volseg.metrics.overlap import Mask

Box = tuple[slice, ...]
Numbers = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts of a mask (I, J, K).

    Attributes:
        numbers: Number of the part of each voxel of the mask, from 1; 0 elsewhere.
        reach: Number of the part whose dilation holds a voxel; 0 elsewhere.
        n: The highest number; removed parts leave gaps below it.
        corner: Indices of the first voxel of the arrays in the whole image.
    """

    numbers: Numbers
    reach: Numbers
    n: int
    corner: tuple[int, ...]

    @classmethod
    def of(cls, mask: Mask, dilation: int, corner: tuple[int, ...]) -> Parts:
        """Components of a mask; those in one component of the dilated mask are one part.

        Parts are numbered by the first voxels of the dilated components, in C order.
        """
        reach, n = components(dilated(mask, dilation))
        return cls(np.where(mask, reach, 0) if dilation else reach, reach, n, corner)

    def renumbered(self, number_of: npt.NDArray[np.intp]) -> Parts:
        """These parts with new numbers, by old number; 0 removes a part."""
        if np.array_equal(number_of, np.arange(self.n + 1)):
            return self
        number_of = number_of.astype(self.numbers.dtype)
        numbers = number_of[self.numbers]
        reach = numbers if self.reach is self.numbers else number_of[self.reach]
        return Parts(numbers, reach, int(number_of.max(initial=0)), self.corner)

    @property
    def mask(self) -> Mask:
        """Voxels of all parts."""
        return self.numbers > 0

    @cached_property
    def present(self) -> list[int]:
        """Numbers that have voxels, in ascending order."""
        found: list[int] = np.flatnonzero(self.sizes).tolist()
        return found

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Voxels of each part by number; 0 at index 0, which is no part."""
        # Counting makes 8 bytes of each voxel, so only those inside are counted.
        return np.bincount(self.numbers[self.mask], minlength=self.n + 1)

    @cached_property
    def border(self) -> Mask:
        """Border voxels of all parts. No part touches another, so they are those of each part."""
        return border(self.mask)

    @cached_property
    def border_sizes(self) -> npt.NDArray[np.int64]:
        """Border voxels of each part by number, like `sizes`."""
        return np.bincount(self.numbers[self.border], minlength=self.n + 1)

    @cached_property
    def boxes(self) -> list[Box]:
        """Bounding box of each part, in the order of the numbers from 1."""
        return find_objects(self.numbers, self.n) if self.n else []

    def centre(self, number: int) -> tuple[int, ...]:
        """Indices in the image of the voxel of a part that is nearest to the mean of its voxels."""
        box = self.boxes[number - 1]
        voxels = np.argwhere(self.numbers[box] == number)
        nearest = voxels[np.square(voxels - voxels.mean(axis=0)).sum(axis=1).argmin()]
        return tuple(
            first + side.start + int(at)
            for first, side, at in zip(self.corner, box, nearest, strict=True)
        )
