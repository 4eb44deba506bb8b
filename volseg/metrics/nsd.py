"""Normalised surface Dice over surface voxels, as BraTS scores it since 2025."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from volseg.images.boxes import bounding_box
from volseg.metrics.border_distances import BorderDistances, border
from volseg.metrics.overlap import Mask, check_masks
from volseg.metrics.surface import check_steps

# The programs add this to the denominator, so a perfect lesion scores 0.999999995.
_EPSILON = 1e-8
# Voxels along an axis up to which a search around each voxel is faster than a tree.
_REACH = 4


def surface_dice(
    reference: Mask, prediction: Mask, spacing_mm: npt.ArrayLike, tolerance_mm: float
) -> float:
    """Normalised surface Dice (NSD): how much of both surfaces lies within a tolerance.

    The mean of two shares: of the surface voxels of the reference that are at most `tolerance_mm`
    from a surface voxel of the prediction, and the other way round. A surface voxel has a face
    neighbour outside the mask, and beyond the border of the volume everything is outside. This is
    the NSD of BraTS 2025; DeepMind's surface Dice [1] weighs surface elements by area.

    Args:
        reference: Reference mask, any number of spatial axes.
        prediction: Predicted mask, same shape.
        spacing_mm: Distance of neighbouring voxels along each axis in mm.
        tolerance_mm: Largest distance that is accepted.

    Returns:
        Surface Dice in [0, 1]; 1 if both masks are empty, 0 if only one is.

    Raises:
        ValueError: If a mask is not boolean, the shapes differ or `spacing_mm` does not have one
            finite value above 0 for each axis.

    Examples:
        >>> reference = np.array([False, True, True, True, False])
        >>> surface_dice(reference, np.roll(reference, 1), [2.0], tolerance_mm=1.0)
        0.0
        >>> surface_dice(reference, np.roll(reference, 1), [2.0], tolerance_mm=2.0)
        1.0

    References:
        [1] Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for
            radiotherapy", https://doi.org/10.2196/26151
    """
    check_masks(reference, prediction)
    steps = np.asarray(spacing_mm, dtype=np.float64)
    if steps.shape != (reference.ndim,):
        raise ValueError(f"{reference.ndim} spacings are needed, got {tuple(steps.tolist())}")
    check_steps(steps)
    found = reference.any(), prediction.any()
    if not all(found):
        return float(not any(found))
    borders = border(reference), border(prediction)
    ((of_reference, of_prediction),) = _within(borders, steps.tolist(), [tolerance_mm])
    sizes = int(borders[0].sum()), int(borders[1].sum())
    return (of_reference / sizes[0] + of_prediction / sizes[1]) / 2


def nsd(
    reference: Mask,
    prediction: Mask,
    spacing_mm: Sequence[float],
    tolerances_mm: Sequence[float],
) -> dict[float, float]:
    """NSD as the programs of 2025 compute it, by tolerance; see `surface_dice`."""
    found = reference.any(), prediction.any()
    if not (all(found) and tolerances_mm):
        return dict.fromkeys(tolerances_mm, float(not any(found)))
    box = bounding_box(reference | prediction)
    borders = border(reference[box]), border(prediction[box])
    sizes = int(borders[0].sum()), int(borders[1].sum())
    return border_nsd(borders, sizes, spacing_mm, tolerances_mm)


def border_nsd(
    borders: tuple[Mask, Mask],
    sizes: tuple[int, int],
    spacing_mm: Sequence[float],
    tolerances_mm: Sequence[float],
) -> dict[float, float]:
    """NSD of two borders, as `nsd`.

    Args:
        borders: Border voxels of both sides, at least all within `reach_voxels` of the other side.
        sizes: Number of all border voxels of both sides, at least 1.
        spacing_mm: Voxel size along the axes in mm.
        tolerances_mm: Tolerances in ascending order.
    """
    return {
        tolerance: sum(n / size for n, size in zip(counts, sizes, strict=True)) / (2 + _EPSILON)
        for tolerance, counts in zip(
            tolerances_mm, _within(borders, spacing_mm, tolerances_mm), strict=True
        )
    }


def reach_voxels(spacing_mm: Sequence[float], tolerances_mm: Sequence[float]) -> list[int]:
    """Voxels along each axis beyond which nothing is within the largest tolerance."""
    # Rounded up, as 1.0 // 0.2 is 4.
    return [math.ceil(max(tolerances_mm) / step) for step in spacing_mm]


def _within(
    borders: tuple[Mask, Mask], spacing_mm: Sequence[float], tolerances_mm: Sequence[float]
) -> list[tuple[int, int]]:
    """How many voxels of each border are within each tolerance of the other border."""
    if not all(side.any() for side in borders):
        return [(0, 0)] * len(tolerances_mm)
    around = reach_voxels(spacing_mm, tolerances_mm)
    if max(around) > _REACH:
        far = BorderDistances.between(*borders, spacing_mm)
        return [
            (int((far.forth <= each).sum()), int((far.back <= each).sum()))
            for each in tolerances_mm
        ]
    sides = [np.pad(side, [(n, n) for n in around]) for side in borders]
    offsets = np.indices([2 * n + 1 for n in around]).reshape(len(around), -1).T - around
    distances = np.sqrt(np.square(offsets * spacing_mm).sum(axis=1))
    left = [np.flatnonzero(side) for side in sides]
    sizes = [voxels.size for voxels in left]
    counts, within = [], -1.0
    for tolerance in tolerances_mm:
        chosen = (distances > within) & (distances <= tolerance)
        for step in (offsets[chosen] @ sides[0].strides).tolist():
            left = [
                voxels[~there.ravel()[voxels + step]]
                for voxels, there in zip(left, reversed(sides), strict=True)
            ]
        counts.append((sizes[0] - left[0].size, sizes[1] - left[1].size))
        within = tolerance
    return counts
