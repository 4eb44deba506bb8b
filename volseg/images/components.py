"""Connected components of masks, and their growth by dilation."""

from __future__ import annotations

import cc3d
import numpy as np
import numpy.typing as npt

from volseg.images.boxes import bounding_box

Mask = npt.NDArray[np.bool_]
#: Dilations before lesions are counted, as for the adult gliomas of BraTS 2023.
BRATS_DILATION = 3


def components(mask: Mask) -> tuple[npt.NDArray[np.integer], int]:
    """26-connected components of a mask (I, J, K).

    Returns:
        Number of the component of each voxel, from 1 in the order of their first voxels in C
        order, 0 outside the mask; and how many there are.
    """
    if not mask.any():
        return np.zeros(mask.shape, np.uint8), 0
    numbers, n = cc3d.connected_components(
        np.ascontiguousarray(mask), connectivity=26, return_N=True
    )
    # Large masks come with 4 bytes a voxel, however few components they have.
    return numbers.astype(np.min_scalar_type(int(n)), copy=False), int(n)


def dilated(mask: Mask, steps: int) -> Mask:
    """A mask (I, J, K) grown `steps` times by the 18 neighbours that share a face or an edge.

    Nothing grows beyond the border of the array.
    """
    # The 18 neighbours are those of the three planes, and a plane's 8 are two rows of 2.
    for _ in range(steps):
        by_i, by_j = _along(mask, 0), _along(mask, 1)
        mask = _along(by_i, 1)
        mask |= _along(by_i, 2)
        mask |= _along(by_j, 2)
    return mask


def _along(mask: Mask, axis: int) -> Mask:
    """A mask grown by one voxel in both directions of an axis."""
    grown = mask.copy()
    ahead: list[slice] = [slice(None)] * mask.ndim
    behind = ahead.copy()
    ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
    grown[tuple(ahead)] |= mask[tuple(behind)]
    grown[tuple(behind)] |= mask[tuple(ahead)]
    return grown


def lesions(mask: Mask, dilation: int = BRATS_DILATION) -> tuple[npt.NDArray[np.integer], int]:
    """Lesions of a mask: parts that are one component of the dilated mask are one lesion.

    Args:
        mask: (I, J, K).
        dilation: Number of dilations; up to twice as many voxels lie between parts of a lesion.

    Returns:
        Number of the lesion of each voxel, from 1, 0 outside the mask; and how many there are.
    """
    numbers = np.zeros(mask.shape, np.uint32)
    box = bounding_box(mask, margin=dilation)
    if not mask[box].size:
        return numbers, 0
    merged, count = components(dilated(mask[box], dilation))
    numbers[box] = merged * mask[box]
    return numbers, count
