"""Normalised surface Dice over surface voxels, as BraTS scores it since 2025."""

from __future__ import annotations

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
    ((of_reference, of_prediction),) = _shares(reference, prediction, steps, [tolerance_mm])
    return (of_reference + of_prediction) / 2


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
    shares = _shares(reference, prediction, np.asarray(spacing_mm), tolerances_mm)
    return {
        tolerance: sum(both) / (2 + _EPSILON)
        for tolerance, both in zip(tolerances_mm, shares, strict=True)
    }


def _shares(
    reference: Mask,
    prediction: Mask,
    steps: npt.NDArray[np.float64],
    tolerances_mm: Sequence[float],
) -> list[tuple[float, float]]:
    """Shares of both surfaces within each tolerance; tolerances in ascending order."""
    # Rounded up, as 1.0 // 0.2 is 4.
    around = [int(np.ceil(tolerances_mm[-1] / step)) for step in steps]
    box = bounding_box(reference | prediction)
    if max(around) > _REACH:
        distances_mm = BorderDistances.of(reference[box], prediction[box], steps.tolist())
        return [distances_mm.shares_within(tolerance) for tolerance in tolerances_mm]
    sides = [
        np.pad(border(side[box]), [(reach, reach) for reach in around])
        for side in (reference, prediction)
    ]
    offsets = np.indices([2 * reach + 1 for reach in around]).reshape(len(around), -1).T - around
    distances = np.sqrt(np.square(offsets * steps).sum(axis=1))
    left = [np.flatnonzero(side) for side in sides]
    sizes = [voxels.size for voxels in left]
    shares, within = [], -1.0
    for tolerance in tolerances_mm:
        chosen = (distances > within) & (distances <= tolerance)
        for step in (offsets[chosen] @ sides[0].strides).tolist():
            left = [
                voxels[~there.ravel()[voxels + step]]
                for voxels, there in zip(left, reversed(sides), strict=True)
            ]
        here, there = (1 - rest.size / size for rest, size in zip(left, sizes, strict=True))
        shares.append((here, there))
        within = tolerance
    return shares
