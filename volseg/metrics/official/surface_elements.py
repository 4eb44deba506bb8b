"""Surface elements of masks, as DeepMind's surface-distance defines them.

Each corner that eight voxels share is a surface element if some of them, but not all, are in the
mask. Its area follows from which of them are. Beyond the border of the volume nothing is in a mask,
so the border is a surface too.

Source: Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for
radiotherapy", https://doi.org/10.2196/26151; areas: https://github.com/google-deepmind/surface-distance
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from surface_distance import lookup_tables

from volseg.metrics.border_distances import GridPoints, Reals
from volseg.metrics.official.voxels import Spacing

Side = npt.NDArray[np.bool_ | np.uint8]
Numbers = npt.NDArray[np.integer]
Codes = npt.NDArray[np.uint8]

_ALL_EIGHT = 255


@dataclass(frozen=True, eq=False)
class SurfaceElements:
    """Surface elements of a mask.

    Attributes:
        corners: Their places.
        areas: Area (n,) of each in mm2.
    """

    corners: GridPoints
    areas: Reals

    @classmethod
    def of(cls, side: Side, spacing_mm: Spacing) -> SurfaceElements:
        """Surface elements of a mask (I, J, K) of booleans or bytes; see `area_hd95_mm`."""
        codes = _codes(side.view(np.uint8))
        places = (codes != 0) & (codes != _ALL_EIGHT)
        areas = _area_by_code(spacing_mm)[codes[places]]
        return cls(GridPoints(np.argwhere(places), spacing_mm), areas)

    def __getitem__(self, chosen: slice | npt.NDArray[np.integer]) -> SurfaceElements:
        return SurfaceElements(self.corners[chosen], self.areas[chosen])


class PartSurfaces:
    """Surface elements of numbered parts of a mask (I, J, K).

    No corner belongs to two parts, since voxels at a corner are neighbours and thus of one part.
    """

    def __init__(self, numbers: Numbers, spacing_mm: Spacing) -> None:
        elements = SurfaceElements.of(numbers > 0, spacing_mm)
        part = _numbers_at(numbers, elements.corners.indices)
        self._elements = elements[np.argsort(part, kind="stable")]
        self._ends = np.cumsum(np.bincount(part)).tolist()
        self._of_part: dict[int, SurfaceElements] = {}

    def of(self, parts: Sequence[int]) -> list[SurfaceElements]:
        """Surface elements of some parts: those of the largest surface, then all others.

        A large part may be asked for again and again, so its points are prepared only once.
        """
        largest, *others = sorted(parts, key=lambda part: -len(self._places(part)))
        if largest not in self._of_part:
            places = self._places(largest)
            self._of_part[largest] = self._elements[places.start : places.stop]
        of_largest = [self._of_part[largest]]
        if not others:
            return of_largest
        rest = np.concatenate([np.asarray(self._places(part)) for part in others])
        return [*of_largest, self._elements[rest]]

    def _places(self, part: int) -> range:
        return range(self._ends[part - 1], self._ends[part])


def _numbers_at(numbers: Numbers, corners: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """Number of the part at each corner: that of any of its eight voxels in the mask."""
    flat = np.pad(numbers, 1)
    first = np.ravel_multi_index(tuple(corners.T), flat.shape)
    steps = np.array(flat.strides) // flat.itemsize
    flat = flat.ravel()
    found = flat[first]
    for corner in np.ndindex(2, 2, 2):
        np.maximum(found, flat[first + int(np.dot(corner, steps))], out=found)
    return found


def _codes(side: Codes) -> Codes:
    """For each corner between voxels, which of its eight voxels are in a mask, as bits."""
    padded = np.pad(side, 1)
    codes = np.zeros([size - 1 for size in padded.shape], np.uint8)
    for at, bit in np.ndenumerate(lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL):
        corner = tuple(
            slice(start, start + size) for start, size in zip(at, codes.shape, strict=True)
        )
        codes += padded[corner] * np.uint8(bit)
    return codes


@lru_cache(maxsize=16)
def _area_by_code(spacing_mm: Spacing) -> Reals:
    return np.asarray(lookup_tables.create_table_neighbour_code_to_surface_area(spacing_mm))
