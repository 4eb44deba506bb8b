"""The label map of a case, moved with the channel that it was drawn on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from volseg.cases.case import Case
from volseg.errors import GeometryError
from volseg.images.grid import Affine, Grid, is_same_grid
from volseg.preparation.alignment import Aligned
from volseg.preparation.grids import on_grid
from volseg.preparation.sources import Source
from volseg.preparation.volume import Volume

# Two channels lie equally if registration moved no corner of them further apart than this.
_SAME_MM = 0.5
# Least part of a label map outside the brain that a note names.
_OUTSIDE_ML = 0.05


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A label map on its own grid.

    Attributes:
        volume: Integers and grid.
        channel: Channel that it was drawn on.
        note: What was assumed about that; empty if nothing.
    """

    volume: Volume
    channel: str
    note: str = ""

    def on(self, grid: Grid, matrix: Affine) -> npt.NDArray[np.uint8]:
        """The label map on another grid; `matrix` is from its world to that of the channel."""
        return on_grid(self.volume, grid, matrix, "label").astype(np.uint8, copy=False)


def read_label_map(
    case: Case, channels: Mapping[str, Source], places: Mapping[str, Aligned], reference: str
) -> LabelMap | None:
    """The label map of a case and the channel that it was drawn on; None if the case has none.

    Args:
        case: The case.
        channels: Its channels.
        places: Where they lie.
        reference: Name of the reference channel.

    Raises:
        GeometryError: If no channel has the grid of the label map, or several that were moved
            differently.
        LabelError: If the label map holds no labels.
    """
    if not case.label:
        return None
    values, grid = case.read_reference()
    channel, note = channel_of_grid("the label map", grid, channels, places, reference)
    return LabelMap(Volume(values, grid), channel, note)


def channel_of_grid(
    what: str,
    grid: Grid,
    channels: Mapping[str, Source],
    places: Mapping[str, Aligned],
    reference: str,
) -> tuple[str, str]:
    """The channel that a mask or label map was drawn on, and a note on what was assumed.

    That is the reference channel if the grids are equal, else the channel of that grid.

    Args:
        what: How messages call it.
        grid: Its grid.
        channels: Channels of the case.
        places: Where they lie.
        reference: Name of the reference channel.

    Raises:
        GeometryError: If no channel has the grid, or several that were moved differently.
    """
    alike = [name for name, source in channels.items() if is_same_grid(source.volume.grid, grid)]
    if not alike:
        held = ", ".join(f"{name} {one.size_in_words}" for name, one in channels.items())
        raise GeometryError(
            f"{what} has a grid of {grid.shape_in_words} voxels, which is that "
            f"of no channel ({held})",
            remedy="resample it onto the grid of the channel that it was drawn on, or leave it out",
        )
    channel = reference if reference in alike else alike[0]
    others = [name for name in alike if _apart_mm(places[name], places[channel], grid) > _SAME_MM]
    if others and channel != reference:
        raise GeometryError(
            f"{what} has the grid of {' and '.join(alike)}, which registration moved "
            "differently, so it is not clear which of them it was drawn on",
            remedy=f"register to the channel that it was drawn on, such as with --to {channel}",
        )
    note = (
        f"{what} is taken to be drawn on {channel}; {', '.join(others)} of the same grid moved"
        if others
        else ""
    )
    return channel, note


def outside_note(label_map: npt.NDArray[np.uint8], brain: npt.NDArray[np.bool_], grid: Grid) -> str:
    """Note on the part of a label map outside the brain; empty if there is none."""
    outside_ml = float(np.count_nonzero(label_map[~brain]) * grid.voxel_ml)
    if outside_ml < _OUTSIDE_ML:
        return ""
    return f"{outside_ml:.2f} ml of the label map lie outside the brain mask, and are kept"


def _apart_mm(one: Aligned, other: Aligned, grid: Grid) -> float:
    moved = [Grid(grid.shape, place.matrix @ grid.affine) for place in (one, other)]
    return moved[0].displacement_mm(moved[1])
