"""A case to draw: its images and masks, and the choice of slices and of a box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.errors import GeometryError
from volseg.figures.greys import Window, above_background, grey_window
from volseg.figures.planes import PLANE_AXES, Plane, sides
from volseg.images.boxes import bounding_box
from volseg.labels import Masks

Box = tuple[slice, slice, slice]

_MARGIN_VOXELS = 2


@dataclass(frozen=True)
class CaseView:
    """A case to draw, as a stack of slices along the third axis.

    Attributes:
        images: Arrays (I, J, K) by channel, as it is named in pictures, 0 outside the brain; in RAS
            for a view of axial slices.
        reference: Masks (I, J, K) by region, outlined with dashes; None or empty: not drawn.
        prediction: Masks of the model by region, outlined with solid lines; None or empty: not
            drawn.
        name: Name of the case, shown in each of its rows.
        spacing_mm: Voxel size; only ratios matter.
        numbers: Numbers of the slices in the file, for each plane; by default they are counted from
            1 (see `slice_numbers`).
        is_oriented: Whether the files record the orientation; otherwise no sides are shown.
        plane: Plane of the slices; see `in_plane`.
        windows: Intensities to show as black and white, by channel; by default see `grey_window`.
    """

    images: Mapping[str, npt.NDArray[Any]]
    reference: Masks | None = None
    prediction: Masks | None = None
    name: str = ""
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0)
    numbers: Mapping[Plane, Sequence[int]] = field(default_factory=dict)
    is_oriented: bool = True
    plane: Plane = "axial"
    windows: Mapping[str, Window] = field(default_factory=dict)

    def in_plane(self, plane: Plane) -> CaseView:
        """The same case as a stack of axial, coronal or sagittal slices, without a copy of arrays.

        Raises:
            GeometryError: If the files do not record the orientation, and `plane` is another one.
        """
        if plane == self.plane:
            return self
        if not self.is_oriented:
            raise GeometryError(
                f"{self.name or 'a case'} has slices of unknown orientation, so there are no "
                f"{plane} slices",
                remedy="draw its slices as they are",
            )
        here = PLANE_AXES[self.plane]
        i, j, k = (here.index(axis) for axis in PLANE_AXES[plane])

        def turned(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
            return {name: array.transpose(i, j, k) for name, array in arrays.items()}

        return replace(
            self,
            images=turned(self.images),
            reference=self.reference and turned(self.reference),
            prediction=self.prediction and turned(self.prediction),
            spacing_mm=[self.spacing_mm[axis] for axis in (i, j, k)],
            plane=plane,
        )

    @property
    def sides(self) -> dict[str, str]:
        """Letters of the patient's sides at the edges of a drawn slice; empty if not known.

        >>> CaseView({}).sides
        {'left': 'R', 'right': 'L', 'top': 'A', 'bottom': 'P'}
        """
        return sides(self.plane) if self.is_oriented else {}

    def slice_name(self, index: int) -> str:
        """Plane and number of a slice, by its index along the third axis.

        >>> CaseView({}, numbers={"axial": [7, 6]}).slice_name(1)
        'axial slice 6'
        """
        numbers = self.numbers.get(self.plane)
        number = numbers[index] if numbers else index + 1
        return f"{self.plane} slice {number}" if self.is_oriented else f"slice {number}"

    @property
    def masks(self) -> list[tuple[Masks, str]]:
        """Masks of reference and prediction, with the style of their lines."""
        return [(self.reference or {}, "dashed"), (self.prediction or {}, "solid")]

    @property
    def regions(self) -> list[str]:
        """Names of the regions of reference and prediction."""
        return list(dict.fromkeys(region for masks, _ in self.masks for region in masks))

    def window(self, channel: str) -> Window:
        """Intensities of a channel to show as black and as white."""
        return self.windows.get(channel) or grey_window(self.images[channel])

    @property
    def filled(self) -> Masks | None:
        """Masks whose areas may be filled: of the prediction, else of the reference."""
        return self.prediction or self.reference or None

    @property
    def aspect(self) -> float:
        """Ratio of height to width of a voxel in the picture."""
        return self.spacing_mm[1] / self.spacing_mm[0]

    @cached_property
    def brain(self) -> npt.NDArray[np.bool_]:
        """Mask of the voxels above the background in any image, be it 0 or faint noise."""
        return np.any([above_background(image) for image in self.images.values()], axis=0)

    @property
    def target_masks(self) -> Masks:
        """Masks that decide which slices are shown: of the reference, else of the prediction.

        Empty if neither has a voxel.
        """
        found = (masks for masks, _ in self.masks if any(mask.any() for mask in masks.values()))
        return next(found, {})

    @property
    def target(self) -> npt.NDArray[np.bool_]:
        """Mask of what slices should show: the `target_masks` together, else the brain."""
        masks = self.target_masks
        return np.any(list(masks.values()), axis=0) if masks else self.brain

    @property
    def meaning_of_lines(self) -> str:
        """What the outlines are of, as a sentence; empty if there are none.

        >>> CaseView({}, prediction={"WT": np.array([True])}).meaning_of_lines
        'Lines: prediction.'
        """
        if self.reference and self.prediction:
            return "Dashed: reference, solid: prediction."
        name = "reference" if self.reference else "prediction" if self.prediction else ""
        return f"Lines: {name}." if name else ""

    @cached_property
    def content(self) -> npt.NDArray[np.bool_]:
        """Mask of brain and regions together."""
        masks = [mask for masks, _ in self.masks for mask in masks.values()]
        return np.any([self.brain, *masks], axis=0)

    def box(self, index: int | None = None) -> Box:
        """Smallest box around the content, with a margin; the full image if there is none.

        With the index of a slice, only the voxels of that slice count.
        """
        content = self.content
        return box_around(content if index is None else content[:, :, index : index + 1])

    def height(self, box: Box) -> float:
        """Ratio of height to width of a slice of the box, both in mm."""
        return self.aspect * (box[1].stop - box[1].start) / (box[0].stop - box[0].start)


def box_around(content: npt.NDArray[np.bool_]) -> Box:
    """Smallest box around a mask (I, J, K), with a margin; all of it if the mask is empty."""
    i, j, k = bounding_box(content if content.any() else ~content, _MARGIN_VOXELS)
    return i, j, k


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
