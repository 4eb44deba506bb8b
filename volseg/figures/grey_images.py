"""Images of a case for pictures: 8-bit greys within the box of the head, a few MB for a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from volseg.figures.case_view import Box, CaseView
from volseg.figures.greys import (
    Greys,
    Window,
    above_background,
    as_greys,
    grey_window,
    in_windows,
    sample_steps,
    sampled,
)
from volseg.figures.planes import slice_numbers
from volseg.images.boxes import bounding_box, placed, union
from volseg.images.case_images import CaseImages
from volseg.images.grid import Grid
from volseg.labels import LabelScheme, Masks
from volseg.ranks import in_threads

Voxel = TypeVar("Voxel", bound=np.generic)


@dataclass(frozen=True, eq=False)
class GreyImages:
    """The images of a case as greys.

    Attributes:
        greys: Arrays (I, J, K) in RAS by channel, within `box`; 0 is black and the background.
        box: Box of the head in the images, in RAS.
        grid: Grid of the files.
        is_oriented: Whether the files record the orientation.
    """

    greys: Mapping[str, Greys]
    box: Box
    grid: Grid
    is_oriented: bool = True

    @classmethod
    def of(
        cls,
        images: CaseImages,
        channels: Sequence[str],
        windows: Mapping[str, Window] | None = None,
    ) -> GreyImages:
        """Greys of the channels of `images`, in order; without those that another replaces.

        Args:
            images: The images.
            channels: Their names.
            windows: Windows of channels of absolute grey values; see `in_windows`.
        """
        upright = {
            name: images.grid.to_ras(channel) for name, channel in images.own(channels).items()
        }
        upright, found = in_windows(upright, windows or {})
        samples = [sampled(image) for image in upright.values()]
        head = np.any([above_background(sample) for sample in samples], axis=0)
        box = _box(bounding_box(head), next(iter(upright.values())))
        cut = [image[box] for image in upright.values()]
        shown = [found.get(name) or grey_window(image) for name, image in upright.items()]
        greys = dict(zip(upright, in_threads(as_greys, cut, shown), strict=True))
        return cls(greys, box, images.grid, is_oriented=not images.slices)

    def view(self, label_map: npt.NDArray[np.uint8], scheme: LabelScheme, name: str) -> CaseView:
        """View of the case with a predicted label map (I, J, K), on the grid of the files."""
        box = self.box_with(label_map)
        return self.in_box(box, None, scheme.masks(self.cut(label_map, box)), name)

    def box_with(self, mask: npt.NDArray[Any]) -> Box:
        """Box of the head, in RAS, and of a mask (I, J, K) on the grid of the files."""
        found = bounding_box(self.grid.to_ras(mask))
        # The mask may reach beyond the head.
        i, j, k = union([self.box, *([found] if found[0].stop else [])])
        return i, j, k

    def cut(self, array: npt.NDArray[Voxel], box: Box) -> npt.NDArray[Voxel]:
        """The part of an array (I, J, K) on the grid of the files in a box, in RAS."""
        return self.grid.to_ras(array)[box]

    def in_box(
        self, box: Box, reference: Masks | None, prediction: Masks | None, name: str
    ) -> CaseView:
        """View of the case in a box around that of the head, with masks as `cut` gives them."""
        inside = tuple(
            slice(own.start - whole.start, own.stop - whole.start)
            for own, whole in zip(self.box, box, strict=True)
        )
        shape = [side.stop - side.start for side in box]
        greys = self.greys
        if box != self.box:
            greys = {channel: placed(grey, inside, shape) for channel, grey in greys.items()}
        ras = self.grid.ras
        return CaseView(
            greys,
            reference,
            prediction,
            name=name,
            spacing_mm=ras.spacing_mm,
            numbers=slice_numbers(ras.crop(box), self.grid),
            is_oriented=self.is_oriented,
            windows=dict.fromkeys(greys, (0.0, 255.0)),
        )


def _box(found: Sequence[slice], image: npt.NDArray[np.generic]) -> Box:
    """Box in an image around a box of its samples, with a margin of a sample; all if empty."""
    if not found[0].stop:
        i, j, k = (slice(0, size) for size in image.shape)
        return i, j, k
    i, j, k = (
        slice(max(side.start - 1, 0) * step, min((side.stop + 1) * step, size))
        for side, step, size in zip(found, sample_steps(image), image.shape, strict=True)
    )
    return i, j, k
