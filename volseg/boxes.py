"""Boxes of voxels: the part of a volume that is worth the work."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def bounding_box(mask: npt.NDArray[np.bool_], margin: int = 0) -> tuple[slice, ...]:
    """Smallest box that holds every True voxel; of length 0 along each axis if there is none.

    Args:
        mask: Any shape.
        margin: Voxels that are added on each side, as far as the array goes.

    Examples:
        >>> bounding_box(np.array([False, False, True, True]), margin=1)
        (slice(1, 4, None),)
    """
    box = []
    rest = mask
    # The box found so far narrows what the next axis has to look through.
    for size in mask.shape:
        used = np.flatnonzero(rest.any(axis=tuple(range(1, mask.ndim))))
        found = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0)
        grown = slice(max(found.start - margin, 0), min(found.stop + margin, size))
        box.append(grown if used.size else found)
        rest = np.moveaxis(rest[found], 0, -1)
    return tuple(box)
