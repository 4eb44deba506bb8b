"""The channels of a case as they lie in its files, each on a grid of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.cases.case import Case
from volseg.errors import ImageError
from volseg.preparation.volume import Volume
from volseg.words import number_of

# Values so many times the 99.9th percentile are no measurement: 44 real scans of MRI have at most
# 2.4, and metal in CT is some 20.
_OUTLIER = 100


@dataclass(frozen=True, eq=False)
class Source:
    """A channel in its file.

    Attributes:
        path: The file.
        volume: Values and grid.
        header: NIfTI header of the file.
        notes: Assumptions about it.
    """

    path: str
    volume: Volume
    header: Any
    notes: tuple[str, ...] = ()

    @property
    def size_in_words(self) -> str:
        """Shape and spacing, such as `256 x 256 x 26 at 0.9 x 0.9 x 5.5 mm`."""
        grid = self.volume.grid
        return f"{grid.shape_in_words} at {grid.spacing_in_words} mm"


def read_channels(case: Case) -> dict[str, Source]:
    """The channels of a case of volumes, by name.

    Raises:
        ImageError: If the case is of 2D images, or a file is missing, damaged, or holds NaN.
    """
    if case.slices:
        raise ImageError(
            "its files are 2D images without orientation, but volumes are prepared",
            remedy="convert them with volseg convert",
            case_id=case.case_id,
        )
    found = {}
    for name in case.channels:
        images = case.read_images([name])
        path = case.inputs[name] if isinstance(case.inputs, dict) else str(case.place)
        volume = Volume(images.array[0], images.grid)
        notes = (*images.notes, *_outlier_notes(name, volume.values))
        found[name] = Source(path, volume, images.header, notes)
    return found


def _outlier_notes(name: str, values: npt.NDArray[Any]) -> list[str]:
    """A note if the largest value (I, J, K) is far above all others."""
    size = np.abs(values.astype(np.float64))
    high, largest = np.percentile(size[size > 0], 99.9) if size.any() else 0.0, size.max()
    if largest <= _OUTLIER * high:
        return []
    count = int(np.count_nonzero(size > _OUTLIER * high))
    return [
        f"{name}: {number_of(count, 'voxel')} of up to {largest:.3g}, where 99.9 % of all values "
        f"are at most {high:.3g}: a faulty scan or conversion, which spoils normalisation"
    ]
