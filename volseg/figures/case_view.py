"""A case to draw: its images and masks, and the choice of slices and of a box."""

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
    """A case to draw.

    Attributes:
        images: Arrays (I, J, K) in RAS by channel, 0 outside the brain.
        reference: Masks (I, J, K) by region, outlined with dashes; None or empty: not drawn.
        prediction: Masks of the model by region, outlined with solid lines; None or empty likewise.
        name: Name of the case, shown in each of its rows.
        spacing_mm: Voxel size; only the ratio of the first two values matters.
        numbers: Numbers of the slices; by default they are counted from 1.
        is_oriented: Whether the files record the orientation; otherwise no sides are shown.
    """

    images: Mapping[str, npt.NDArray[Any]]
    reference: Masks | None = None
    prediction: Masks | None = None
    name: str = ""
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0)
    numbers: Sequence[int] = ()
    is_oriented: bool = True

    def slice_name(self, index: int) -> str:
        """Plane and number of a slice, by its index along the third axis.

        >>> CaseView({}, numbers=[7, 6]).slice_name(1)
        'axial slice 6'
        """
        number = self.numbers[index] if self.numbers else index + 1
        return f"{'axial ' if self.is_oriented else ''}slice {number}"

    @property
    def masks(self) -> list[tuple[Masks, str]]:
        """Masks of reference and prediction, with the style of their lines."""
        return [(self.reference or {}, "dashed"), (self.prediction or {}, "solid")]

    @property
    def aspect(self) -> float:
        """Ratio of height to width of a voxel in the picture."""
        return self.spacing_mm[1] / self.spacing_mm[0]

    @property
    def brain(self) -> npt.NDArray[np.bool_]:
        """Mask of the voxels above the background in any image, be it 0 or faint noise."""
        return np.any([_filled(image) for image in self.images.values()], axis=0)

    @property
    def target(self) -> npt.NDArray[np.bool_]:
        """Mask of what slices should show: the reference, else the prediction, else the brain."""
        for masks, _ in self.masks:
            if any(mask.any() for mask in masks.values()):
                return np.any(list(masks.values()), axis=0)
        return self.brain

    def box(self, index: int | None = None) -> Box:
        """Smallest box around brain and masks, with a margin; the full image if they are empty.

        With the index of a slice, only the voxels of that slice count.
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
        """Ratio of height to width of a slice of the box, both in mm."""
        return self.aspect * (box[1].stop - box[1].start) / (box[0].stop - box[0].start)


def _filled(image: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    # A normalised image has negative voxels, and its background is exactly 0.
    limit = 0 if image.min() < 0 else _NOISE * float(np.percentile(image, 99.5))
    return np.asarray(image > limit if limit else image != 0)


def choose_slices(mask: npt.NDArray[np.bool_], count: int) -> list[int]:
    """Indices of slices, highest first: the slice with the largest area, others spread evenly.

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
    """Numbers of the axial slices of an image in its file, counted from 1.

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
