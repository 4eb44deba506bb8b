"""Whether a mask can be a brain: its volume, and the border of the field of view."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from volseg.errors import BrainMaskError
from volseg.images.boxes import bounding_box
from volseg.images.grid import Grid
from volseg.preparation.brain_mask.mask import Mask, Proposal
from volseg.preparation.volume import Volume

#: Least and largest volume in ml that is accepted for a brain.
LIMITS_ML = (900.0, 2200.0)
# A field of view shorter than this along R, A or S (mm) cannot hold a whole brain.
_BRAIN_MM = (120.0, 150.0, 110.0)
# A face of the field of view that cuts through more brain than the brain stem, in cm².
_CUT_CM2 = 20.0
_SIDES = (("left", "right"), ("back", "front"), ("bottom", "top"))


def checked(
    proposal: Proposal, volumes: Mapping[str, Volume], limits_ml: tuple[float, float] = LIMITS_ML
) -> Proposal:
    """A proposal whose volume is that of a brain, with a note if the field of view cuts it.

    Where the field of view is too short for a whole brain, the least volume is smaller by the same
    factor.

    Raises:
        BrainMaskError: If the volume is outside the limits.
    """
    grid = next(iter(volumes.values())).grid
    seen = bounding_box(np.any([volume.values != 0 for volume in volumes.values()], axis=0))
    share = _share_of_brain(grid, seen)
    least, most = limits_ml[0] * share, limits_ml[1]
    volume_ml = float(proposal.mask.sum() * grid.voxel_ml)
    if volume_ml == 0 or not least <= volume_ml <= most:
        field = "" if share == 1 else f" in a field of view that holds {share:.0%} of a brain"
        raise BrainMaskError(
            f"the mask found by {proposal.method} measures {volume_ml:.0f} ml, but a brain "
            f"{least:.0f} to {most:.0f} ml{field}",
            remedy="look at the images, or choose another method with --strip",
        )
    return proposal.with_notes(*_cuts(proposal.mask, grid, seen))


def _share_of_brain(grid: Grid, seen: tuple[slice, ...]) -> float:
    """Share of the least extent of a brain that a field of view covers; 1 if it covers all."""
    extents = [
        (seen[axis].stop - seen[axis].start) * grid.spacing_mm[axis] for axis in grid.ras_axes
    ]
    return math.prod(min(1.0, mm / brain) for mm, brain in zip(extents, _BRAIN_MM, strict=True))


def _cuts(mask: Mask, grid: Grid, seen: tuple[slice, ...]) -> list[str]:
    """Notes on faces of the field of view that cut through the brain."""
    notes = []
    within = mask[seen]
    for sides, axis in zip(_SIDES, grid.ras_axes, strict=True):
        area = grid.voxel_ml / (grid.spacing_mm[axis] / 10)
        for end, side in zip((0, -1), sides[:: int(grid.ras_signs[axis])], strict=True):
            cut = float(within.take(end, axis=axis).sum()) * area
            if cut > _CUT_CM2:
                notes.append(
                    f"the field of view ends at the {side} within the brain, which measures "
                    f"{cut:.0f} cm² there: what lies beyond is missing, and a tumour that reaches "
                    "there is measured too small; look at the picture, and give a series of the "
                    "whole head if there is one"
                )
    return notes
