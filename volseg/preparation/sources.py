"""The channels of a case as they lie in its files, each on a grid of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from volseg.cases.case import Case
from volseg.errors import ImageError
from volseg.preparation.volume import Volume


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
        found[name] = Source(path, volume, images.header, images.notes)
    return found
