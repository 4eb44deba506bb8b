"""Distance between the surfaces of two masks, in mm.

The surface of a mask consists of its voxels with a face neighbour outside the mask; beyond the
border of the volume everything is outside. When both masks are empty the distance is 0. When one
mask is empty the distance is undefined; BraTS replaces it by the diagonal of its volume, so that no
case drops out of a mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from volseg.images.boxes import bounding_box
from volseg.metrics.overlap import Mask, check_masks

#: HD95 when one mask is empty: diagonal of the volumes of BraTS 2017 to 2022, 240 x 240 x 155 mm.
HD95_PENALTY_MM = 373.13

# Voxels along each axis to search for a neighbour before a tree is built.
_REACH = 4


def hausdorff_95(
    reference: Mask,
    prediction: Mask,
    spacing_mm: npt.ArrayLike,
    penalty_mm: float = HD95_PENALTY_MM,
) -> float:
    """95th percentile of the Hausdorff distance (HD95) of two masks, in mm.

    The directed distance is the 95th percentile (with linear interpolation between ranks) of the
    distances from each surface voxel of one mask to the nearest surface voxel of the other mask.
    HD95 is the larger of both directions, as in MONAI [1]. DeepMind's surface-distance, which BraTS
    uses since 2023 and `lesionwise_scores` computes, weighs each distance by the area of its
    surface element: on 39 real references with errors added the two differ by 0.24 mm in the
    median and 2.7 mm at most, and by up to 11 mm where voxels are longer along one axis.

    Args:
        reference: Reference mask, any number of spatial axes.
        prediction: Predicted mask, same shape.
        spacing_mm: Distance of neighbouring voxels along each axis; for axes that are not
            perpendicular, a matrix whose columns are the steps along the axes.
        penalty_mm: Value if exactly one mask is empty.

    Returns:
        Distance in mm; 0 if both masks are empty.

    Raises:
        ValueError: If a mask is not boolean, the shapes differ or `spacing_mm` does not have one
            finite value above 0 for each axis.

    References:
        [1] `monai.metrics.compute_hausdorff_distance(percentile=95, spacing=...)`
    """
    check_masks(prediction, reference)
    steps = np.asarray(spacing_mm, dtype=np.float64)
    if steps.shape not in {(prediction.ndim,), (prediction.ndim, prediction.ndim)}:
        raise ValueError(f"{prediction.ndim} spacings are needed, got {tuple(steps.tolist())}")
    check_steps(steps)
    box = bounding_box(prediction | reference)
    predicted, expected = (_surface(mask[box]) for mask in (prediction, reference))
    if not (predicted.any() and expected.any()):
        return penalty_mm if predicted.any() or expected.any() else 0.0
    return max(
        float(np.percentile(_distances(here, there, steps), 95))
        for here, there in ((predicted, expected), (expected, predicted))
    )


def check_steps(steps: npt.NDArray[np.float64]) -> None:
    """Raise ValueError unless the steps along the axes are finite and of some length.

    Args:
        steps: Length of each step, or a matrix whose columns are the steps.
    """
    lengths = np.linalg.norm(steps, axis=0) if steps.ndim == 2 else steps
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError(f"spacings must be finite and above 0, got {steps.tolist()}")


def _surface(mask: Mask) -> Mask:
    """Surface voxels of a mask, padded by `_REACH` empty voxels on each side."""
    padded = np.pad(np.ascontiguousarray(mask), _REACH)
    # A neighbour is a fixed number of bytes away; the padding separates the ends of rows.
    flat = padded.ravel()
    inner = flat.copy()
    for stride in padded.strides:
        inner[stride:] &= flat[:-stride]
        inner[:-stride] &= flat[stride:]
    return padded & ~inner.reshape(padded.shape)


def _distances(here: Mask, there: Mask, steps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Distances from the voxels of `here` to the nearest voxel of `there`, in mm, in no order.

    Distances beyond the 95th percentile may be infinite.
    """
    left = np.flatnonzero(here)
    distances = np.full(left.size, np.inf)
    # The percentile lies between two ranks; the upper one must be known too.
    needed = min(left.size, int(0.95 * (left.size - 1)) + 2)
    found, flat = 0, there.ravel()
    # Most voxels have so near a neighbour that a search around them is faster than a tree.
    for step, distance in _near(here.strides, steps):
        left = left[~flat[left + step]]
        distances[found : distances.size - left.size] = distance
        found = distances.size - left.size
        if found >= needed:
            return distances
    asked, known = (
        _in_mm(np.stack(np.unravel_index(voxels, here.shape), axis=-1), steps)
        for voxels in (left, np.flatnonzero(flat))
    )
    # A plain tree is built faster than a balanced tree, and its queries are as fast.
    tree = cKDTree(known, leafsize=32, balanced_tree=False, compact_nodes=False)
    distances[found:] = tree.query(asked)[0]
    return distances


def _in_mm(
    voxels: npt.NDArray[np.integer], steps: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Indices (n, axes) as millimetres along perpendicular axes."""
    return voxels @ steps.T if steps.ndim == 2 else voxels * steps


def _near(strides: Sequence[int], steps: npt.NDArray[np.float64]) -> list[tuple[int, float]]:
    """Steps in memory from a voxel to its neighbours, and their distances in mm, nearest first.

    The list ends before the first distance at which a voxel beyond `_REACH` could be nearer.
    """
    axes = len(strides)
    around = np.indices((2 * _REACH + 1,) * axes).reshape(axes, -1).T - _REACH
    distances = np.linalg.norm(_in_mm(around, steps), axis=1)
    order = np.argsort(distances, kind="stable")
    # Distance between planes of voxels, which is less than a step along an oblique axis.
    planes = steps if steps.ndim == 1 else 1 / np.linalg.norm(np.linalg.inv(steps), axis=1)
    order = order[distances[order] < (_REACH + 1) * planes.min()]
    return list(zip((around @ strides)[order].tolist(), distances[order].tolist(), strict=True))
