"""Images of a case for pictures: 8-bit greys within the box of the head, a few MB for a case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from volseg.figures.case_view import Box, CaseView, above_background
from volseg.figures.planes import slice_numbers
from volseg.images.boxes import bounding_box, placed, union
from volseg.images.case_images import CaseImages
from volseg.images.grid import Grid
from volseg.labels import LabelScheme
from volseg.ranks import in_threads

Greys = npt.NDArray[np.uint8]

# Every third voxel along each axis is enough to find the head and its grey values.
_STEP = 3
# Grey values that become black and white, in percent of the voxels that are not 0.
_BLACK, _WHITE = 0.5, 99.7
_LEAST_RANGE = 1e-6


@dataclass(frozen=True, eq=False)
class GreyImages:
    """The images of a case as greys.

    Attributes:
        greys: uint8 (I, J, K) in RAS by channel, within `box`; 0 is black and the background.
        box: Box of the head in the images, in RAS.
        grid: Grid of the files.
        is_oriented: Whether the files record the orientation.
    """

    greys: Mapping[str, Greys]
    box: Box
    grid: Grid
    is_oriented: bool = True

    @classmethod
    def of(cls, images: CaseImages, channels: Sequence[str]) -> GreyImages:
        """Greys of the channels of `images`, in order; a channel that another replaces is left out.

        The 0.5th percentile of its values that are not 0 becomes black, the 99.7th white.
        """
        upright = {
            name: images.grid.to_ras(channel)
            for name, channel in zip(channels, images.array, strict=True)
            if name not in images.missing
        }
        samples = [image[::_STEP, ::_STEP, ::_STEP] for image in upright.values()]
        head = np.any([above_background(sample) for sample in samples], axis=0)
        box = _enlarged(bounding_box(head), images.grid.ras.shape)
        cut = [image[box] for image in upright.values()]
        greys = dict(zip(upright, in_threads(_grey, cut, samples), strict=True))
        return cls(greys, box, images.grid, is_oriented=not images.slices)

    def view(self, label_map: npt.NDArray[np.uint8], scheme: LabelScheme, name: str) -> CaseView:
        """View of the case with a predicted label map (I, J, K), on the grid of the files."""
        upright = self.grid.to_ras(label_map)
        # The label map may reach beyond the head.
        i, j, k = union([self.box, *([found] if (found := bounding_box(upright))[0].stop else [])])
        box = (i, j, k)
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
            prediction=scheme.masks(upright[box]),
            name=name,
            spacing_mm=ras.spacing_mm,
            numbers=slice_numbers(ras.crop(box), self.grid),
            is_oriented=self.is_oriented,
        )


def _enlarged(box: Sequence[slice], shape: Sequence[int]) -> Box:
    """Box in all voxels of a box of samples, with a margin of a sample; all voxels if empty."""
    if not box[0].stop:
        i, j, k = (slice(0, size) for size in shape)
        return i, j, k
    i, j, k = (
        slice(max(side.start - 1, 0) * _STEP, min((side.stop + 1) * _STEP, size))
        for side, size in zip(box, shape, strict=True)
    )
    return i, j, k


def _grey(image: npt.NDArray[np.generic], sample: npt.NDArray[np.generic]) -> Greys:
    values = sample[sample != 0]
    low, high = np.percentile(values, [_BLACK, _WHITE]) if values.size else (0.0, 1.0)
    # Equal values are white.
    low = min(low, high - _LEAST_RANGE)
    scaled = image.astype(np.float32)
    scaled -= np.float32(low)
    scaled *= np.float32(255 / (high - low))
    np.clip(scaled, 0, 255, out=scaled)
    grey = scaled.astype(np.uint8)
    # A normalised image has negative voxels, so its background, 0, would be grey.
    grey[image == 0] = 0
    return grey
