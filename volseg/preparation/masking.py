"""Values outside the brain become 0; values of brain tissue do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.errors import BrainMaskError
from volseg.images.background import LARGEST_BRAIN_ML, background_of, is_ct
from volseg.images.grid import Affine, Grid
from volseg.preparation.brain_mask.stripped import stripped_brain
from volseg.preparation.grids import on_grid
from volseg.preparation.volume import Volume

Mask = npt.NDArray[np.bool_]

# Air in CT, in Hounsfield units.
_AIR_HU = -1000.0
_INTEGERS: tuple[type[np.signedinteger[Any]], ...] = (np.int16, np.int32)


def masked(
    values: npt.NDArray[Any],
    brain: Mask,
    known: Mask | None = None,
    background: float | None = None,
) -> npt.NDArray[Any]:
    """Values within the brain, and exactly 0 elsewhere.

    Zero is the background of stripped scans (see `images.background`), so a voxel of the brain that
    is 0, such as water in CT, gets a small positive value: 1 in integers, else a millionth of the
    99th percentile of the other values, which single voxels with huge values do not change.

    Args:
        values: (I, J, K).
        brain: Mask.
        known: Voxels of the brain that the channel covers; the others are 0. None: all.
        background: Background of a source that was stripped, which becomes 0 in the brain too.
    """
    inside = brain if known is None else brain & known
    if background is not None:
        inside = inside & (values != background)
    result = np.where(inside, values, values.dtype.type(0))
    zeros = inside & (result == 0)
    if zeros.any():
        result[zeros] = 1 if result.dtype.kind in "iu" else _least(result)
    return result


def _least(values: npt.NDArray[Any]) -> float:
    """A value above 0 that is small beside the values (I, J, K) of a channel."""
    others = np.abs(values[values != 0])
    high = float(np.percentile(others, 99)) if others.size else 0.0
    return max(high * 1e-6, 1e-30)


def without_rim(volume: Volume, onto: Grid, matrix: Affine) -> npt.NDArray[Any]:
    """A channel on another grid; a stripped one without the rim of its interpolated border.

    Outside its field of view, it continues with its background.

    Interpolation between brain and background would make each brain larger by a rim of low values.
    Voxels of which the brain fills less than half stay background.

    Args:
        volume: The channel.
        onto: Grid of the result.
        matrix: (4, 4) from the world of `onto` to that of the channel (RAS, mm).
    """
    background = background_value(volume.values)
    values = on_grid(volume, onto, matrix, outside=background)
    try:
        stripped = stripped_brain({"channel": volume}, LARGEST_BRAIN_ML)
    except BrainMaskError:  # whether a case may be prepared, all its channels decide
        stripped = None
    if stripped is None:
        return values
    brain = on_grid(Volume(stripped.mask, volume.grid), onto, matrix, "label")
    return np.where(brain, values, values.dtype.type(background))


def background_value(values: npt.NDArray[Any]) -> float:
    """The value of a channel (I, J, K) where there is nothing: air in CT, mostly 0 in MRI."""
    background = background_of(values)
    if background.is_certain:
        return background.value
    return _AIR_HU if is_ct(values) else 0.0


def in_type_of(values: npt.NDArray[Any], source: np.dtype[Any]) -> npt.NDArray[Any]:
    """Values rounded to integers if the source holds integers, in a type that programs know.

    An error of half a unit at most is that of the source itself.
    """
    if source.kind not in "iu":
        return values.astype(np.float32, copy=False)
    rounded = np.rint(values) if values.dtype.kind == "f" else values
    low, high = int(rounded.min()), int(rounded.max())
    for kind in _INTEGERS:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return rounded.astype(kind)
    return values.astype(np.float32)
