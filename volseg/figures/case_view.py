"""A case to be drawn: its images and masks, which slices of it, which part of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.images.boxes import bounding_box
from volseg.images.grid import Grid
from volseg.labels import Masks

Box = tuple[slice, slice, slice]

_MARGIN_VOXELS = 2
# Share of the 99.5th percentile that the noise around a head stays below.
_NOISE = 0.08


@dataclass(frozen=True)
class CaseView:
    """A case to be drawn.

    Attributes:
        images: Channel name to array (I, J, K) in RAS, 0 outside the brain.
        reference: Region name to mask (I, J, K), outlined with dashes; None or empty: not drawn.
        prediction: The same for the model's masks, outlined with solid lines.
        name: Written into each of its rows.
        spacing_mm: Size of a voxel; only the ratio of the first two matters.
        numbers: Number of each slice; by default they are counted from 1.
        is_oriented: Whether its files say which way the patient lies; else no side is named.
    """

    images: Mapping[str, npt.NDArray[Any]]
    reference: Masks | None = None
    prediction: Masks | None = None
    name: str = ""
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0)
    numbers: Sequence[int] = ()
    is_oriented: bool = True

    def slice_name(self, index: int) -> str:
        """Plane and number of the slice with this index along the third axis.

        >>> CaseView({}, numbers=[7, 6]).slice_name(1)
        'axial slice 6'
        """
        number = self.numbers[index] if self.numbers else index + 1
        return f"{'axial ' if self.is_oriented else ''}slice {number}"

    @property
    def masks(self) -> list[tuple[Masks, str]]:
        """Masks and the style of their lines."""
        return [(self.reference or {}, "dashed"), (self.prediction or {}, "solid")]

    @property
    def aspect(self) -> float:
        """Height of a voxel in the picture over its width."""
        return self.spacing_mm[1] / self.spacing_mm[0]

    @property
    def brain(self) -> npt.NDArray[np.bool_]:
        """Voxels that any image fills, be its background 0 or faint noise."""
        return np.any([_filled(image) for image in self.images.values()], axis=0)

    @property
    def target(self) -> npt.NDArray[np.bool_]:
        """What slices are to show: the reference, else the prediction, else the brain."""
        for masks, _ in self.masks:
            if any(mask.any() for mask in masks.values()):
                return np.any(list(masks.values()), axis=0)
        return self.brain

    def box(self, index: int | None = None) -> Box:
        """Smallest box around brain and masks, with a margin; all of it when they are empty.

        With the index of a slice, what lies in that slice decides.
        """
        masks = [mask for masks, _ in self.masks for mask in masks.values()]
        together = np.any([self.brain, *masks], axis=0)
        if index is not None:
            together = together[:, :, index : index + 1]
        if not together.any():
            together = ~together
        i, j, k = bounding_box(together, _MARGIN_VOXELS)
        return i, j, k

    def height(self, box: Box) -> float:
        """Height of a slice of this box over its width, in mm."""
        return self.aspect * (box[1].stop - box[1].start) / (box[0].stop - box[0].start)


def _filled(image: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    # A normalised image is negative in places, and its background is 0 to the bit.
    limit = 0 if image.min() < 0 else _NOISE * float(np.percentile(image, 99.5))
    return np.asarray(image > limit if limit else image != 0)


def choose_slices(mask: npt.NDArray[np.bool_], count: int) -> list[int]:
    """Indices along the third axis, highest first: the fullest slice, others spread over the mask.

    >>> mask = np.zeros((4, 4, 9), dtype=bool)
    >>> mask[:2, :2, 2:8] = True
    >>> mask[:, :, 4] = True
    >>> choose_slices(mask, 3)
    [7, 5, 4]
    """
    areas = mask.sum(axis=(0, 1))
    filled = np.flatnonzero(areas)
    if not filled.size:
        return [mask.shape[2] // 2]
    spread = filled[((np.arange(count) + 0.5) / count * filled.size).astype(int)]
    fullest = int(areas.argmax())
    spread[np.abs(spread - fullest).argmin()] = fullest
    return sorted({int(index) for index in spread}, reverse=True)


def slice_numbers(grid: Grid, file_grid: Grid) -> list[int]:
    """Number, from 1 on, that each axial slice of an image has in its file.

    Args:
        grid: Grid of the image, in RAS.
        file_grid: Grid of the file.

    >>> upside_down = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 9], [0, 0, 0, 1]])
    >>> slice_numbers(Grid((8, 8, 3), np.eye(4)), Grid((8, 8, 10), upside_down))
    [10, 9, 8]
    """
    to_file = grid.in_voxels_of(file_grid)
    axis = int(abs(to_file[:3, 2]).argmax())
    places = to_file[axis, 3] + to_file[axis, 2] * np.arange(grid.shape[2])
    return [round(float(place)) + 1 for place in places]
