"""Parts of a region: lesions of the reference, or predicted components, numbered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects

from volseg.images.components import components, dilated
from volseg.metrics.overlap import Mask

Box = tuple[slice, ...]
Numbers = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts of a mask (I, J, K).

    Attributes:
        numbers: Number of the part of each voxel of the mask, from 1; 0 elsewhere.
        reach: Number of the part whose dilation holds a voxel; 0 elsewhere.
        n: How many parts there are.
        corner: Indices of the first voxel in the whole image.
    """

    numbers: Numbers
    reach: Numbers
    n: int
    corner: tuple[int, ...]

    @classmethod
    def of(cls, mask: Mask, dilation: int, corner: tuple[int, ...]) -> Parts:
        """Components of the mask; those in one component of the dilated mask are one part."""
        reach, n = components(dilated(mask, dilation))
        return cls(np.where(mask, reach, 0), reach, n, corner)

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Voxels of each part; the first entry belongs to what is outside."""
        return np.bincount(self.numbers.ravel(), minlength=self.n + 1)

    @cached_property
    def boxes(self) -> list[Box]:
        """Bounding box of each part, in the order of the numbers."""
        found: list[Box] = find_objects(self.numbers, self.n) if self.n else []
        return found

    def centre(self, number: int) -> tuple[int, ...]:
        """Indices in the image of the voxel of a part that is nearest to the mean of its voxels."""
        box = self.boxes[number - 1]
        voxels = np.argwhere(self.numbers[box] == number)
        nearest = voxels[np.square(voxels - voxels.mean(axis=0)).sum(axis=1).argmin()]
        return tuple(
            first + side.start + int(at)
            for first, side, at in zip(self.corner, box, nearest, strict=True)
        )
