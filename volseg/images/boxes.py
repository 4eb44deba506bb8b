"""Boxes of voxels: bounding box, placement, union."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Number = TypeVar("Number", bound=np.generic)


def bounding_box(mask: npt.NDArray[np.bool_ | np.integer], margin: int = 0) -> tuple[slice, ...]:
    """Smallest box that holds all non-zero voxels; of length 0 along each axis if there is none.

    Args:
        mask: Mask or label map of any shape.
        margin: Voxels to add on each side, within the array.

    Examples:
        >>> bounding_box(np.array([False, False, True, True]), margin=1)
        (slice(1, 4, None),)
    """
    box = []
    rest = mask
    # The box found so far limits the search along the next axis.
    for size in mask.shape:
        used = np.flatnonzero(rest.any(axis=tuple(range(1, mask.ndim))))
        found = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0)
        grown = slice(max(found.start - margin, 0), min(found.stop + margin, size))
        box.append(grown if used.size else found)
        rest = np.moveaxis(rest[found], 0, -1)
    return tuple(box)


def placed(
    part: npt.NDArray[Number], box: tuple[slice, ...], shape: Sequence[int]
) -> npt.NDArray[Number]:
    """An array of `shape` that holds `part` in `box`, and 0 elsewhere.

    Examples:
        >>> placed(np.array([7, 8]), (slice(1, 3),), (4,))
        array([0, 7, 8, 0])
    """
    whole = np.zeros(shape, part.dtype)
    whole[box] = part
    return whole


def grown(box: tuple[slice, ...], margins: Sequence[int]) -> tuple[slice, ...]:
    """A box with a margin on both sides of each axis, from index 0 on.

    Examples:
        >>> grown((slice(2, 5), slice(2, 5)), (1, 3))
        (slice(1, 6, None), slice(0, 8, None))
    """
    return tuple(
        slice(max(side.start - margin, 0), side.stop + margin)
        for side, margin in zip(box, margins, strict=True)
    )


def union(boxes: Iterable[tuple[slice, ...]]) -> tuple[slice, ...]:
    """Smallest box that holds all boxes.

    Examples:
        >>> union([(slice(2, 5),), (slice(4, 9),)])
        (slice(2, 9, None),)
    """
    return tuple(
        slice(min(side.start for side in sides), max(side.stop for side in sides))
        for sides in zip(*boxes, strict=True)
    )
