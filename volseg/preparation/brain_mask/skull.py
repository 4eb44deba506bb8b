"""How much of a head looks like skull: bone is a dark shell between skin and brain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from volseg.images.background import Background
from volseg.images.grid import Grid
from volseg.preparation.brain_mask.mask import Mask
from volseg.preparation.volume import Volume

# Lines run inwards from the left, right, back and front, this far apart and this deep, in mm.
_APART_MM, _DEEP_MM = 4.0, 44.0
# Only those that meet the surface at less than 35 degrees: tan 35.
_STEEP = 0.7
# Values along a line are means over this length, so vessels and grooves of a brain vanish.
_MEAN_MM = 4.0
# Depth in mm within which the skin is, of the bone, and how far behind it the brain may begin.
_SKIN_MM, _BONE_MM, _BEHIND_MM, _BONE_LEAST_MM = 16.0, (4.0, 24.0), 20.0, 2.0
# Bone has less than this share of the value of skin and of brain.
_DARK = 0.5
# Bone in CT is brighter than this many times the median of the tissue.
_BRIGHT_IN_CT = 2.0
# With fewer lines, nothing is said.
_LEAST_LINES = 100
_NEGATIVE = 0.1


def skull_share(name: str, volume: Volume, tissue: Mask, background: Background) -> float | None:
    """Share of the lines from outside into a head that cross bone; None: too few lines.

    Args:
        name: Channel; in "ct" bone is bright.
        volume: Channel.
        tissue: (I, J, K), voxels that are not background.
        background: Background of the channel.
    """
    grid = volume.grid
    values = grid.to_ras(_above_background(volume.values, tissue, background))
    lines = np.concatenate(
        [
            _lines(values, grid.to_ras(tissue), grid.ras, axis, from_end=from_end)
            for axis in (0, 1)
            for from_end in (False, True)
        ]
    )
    if len(lines) < _LEAST_LINES:
        return None
    if name == "ct":
        return float((lines.max(axis=1) > _BRIGHT_IN_CT).mean())
    return float((_darkest(lines) < _DARK).mean())


def _above_background(
    values: npt.NDArray[np.generic], tissue: Mask, background: Background
) -> npt.NDArray[np.float32]:
    """Values from that of the background up, as multiples of the median of the tissue.

    Values of tissue on both sides of the background, as after z-score, start from the lowest.
    """
    shifted = values.astype(np.float32) - np.float32(background.value)
    inside = shifted[tissue]
    if not inside.size:
        return shifted
    if (inside < 0).mean() > _NEGATIVE:
        shifted = np.where(tissue, shifted - np.percentile(inside, 0.1), 0).astype(np.float32)
        inside = shifted[tissue]
    return shifted / max(float(np.median(inside)), 1e-30)


def _lines(
    values: npt.NDArray[np.float32], tissue: Mask, grid: Grid, axis: int, *, from_end: bool
) -> npt.NDArray[np.float32]:
    """Values (line, depth in mm) along an axis of a RAS volume, from the first tissue on."""
    spacing = np.array(grid.spacing_mm)
    others = [other for other in range(3) if other != axis]
    every = [max(1, round(_APART_MM / spacing[other])) for other in others]
    thin = (slice(None, None, -1 if from_end else 1), *(slice(None, None, n) for n in every))
    across, inside = np.moveaxis(values, axis, 0)[thin], np.moveaxis(tissue, axis, 0)[thin]
    depth = np.arange(0, _DEEP_MM, 1.0)
    steps = np.rint(depth / spacing[axis]).astype(int)
    if min(inside.shape[1:]) < 2:
        return np.empty((0, len(depth)), np.float32)
    first = inside.argmax(axis=0)
    slope = np.gradient(first * spacing[axis], every[0] * spacing[others[0]], axis=0)
    chosen = inside.any(axis=0) & (first > 0) & (first + steps[-1] < len(inside))
    chosen &= abs(slope) < _STEEP
    j, k = np.nonzero(chosen)
    found = across[first[chosen][:, None] + steps, j[:, None], k[:, None]]
    return ndimage.uniform_filter1d(found, round(_MEAN_MM), axis=1, mode="nearest")


def _darkest(lines: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Least value of each line (line, depth in mm) relative to what lies before and behind it."""
    least = np.full(len(lines), np.inf, np.float32)
    for depth in range(int(_BONE_MM[0]), int(_BONE_MM[1]) + 1):
        before = lines[:, : min(depth, int(_SKIN_MM) + 1)].max(axis=1)
        behind = lines[:, depth + int(_BONE_LEAST_MM) + 1 : depth + int(_BEHIND_MM) + 1]
        reached = np.minimum(before, np.percentile(behind, 75, axis=1))
        least = np.minimum(least, lines[:, depth] / np.maximum(reached, 1e-3))
    return least
