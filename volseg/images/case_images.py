"""The images of a case in memory, whatever the format of their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.errors import ImageError
from volseg.images.grid import Grid


@dataclass(frozen=True, eq=False)
class CaseImages:
    """The images of one case.

    Attributes:
        array: (C, I, J, K), channels in the wanted order, without those of `missing` that nothing
            replaces; integers as in the files, or float32.
        grid: Grid of all channels.
        header: Unchanged NIfTI header of the first channel; results are written on its grid.
        notes: Small differences between grids, and assumptions where headers are incomplete.
        missing: Missing channels; another channel replaces all of them, or `array` lacks them.
        slices: File of each slice of a stack, along K; results may be written in the same form.
    """

    array: npt.NDArray[Any]
    grid: Grid
    header: Any
    notes: tuple[str, ...]
    missing: tuple[str, ...] = ()
    slices: tuple[Path, ...] = ()

    def own(self, channels: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """Image (I, J, K) of each channel that the case has itself, of the wanted `channels`."""
        held = [name for name in channels if name not in self.missing]
        there = channels if len(self.array) == len(channels) else held
        named = dict(zip(there, self.array, strict=True))
        return {name: named[name] for name in held}


def check_values(volume: npt.NDArray[Any], where: str) -> None:
    """Raise ImageError, with `where`, if a voxel is NaN or infinite, or all are equal."""
    lost = volume.size - np.count_nonzero(np.isfinite(volume)) if volume.dtype.kind == "f" else 0
    if lost:
        raise ImageError(
            f"{where} holds {lost} NaN or infinite voxels, but every voxel must be a number",
            remedy="repair the image",
        )
    lowest = volume.min()
    if lowest == volume.max():
        raise ImageError(
            f"{where} is constant, {lowest} in every voxel, but an image has contrast",
            remedy="replace the image, or leave the case out",
        )
