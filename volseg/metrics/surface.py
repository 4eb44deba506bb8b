"""Distance between the surfaces of two masks, in mm.

The surface of a mask is its voxels with a face neighbour outside the mask; what lies beyond the
border of the volume is outside. When both masks are empty the distance is 0; when one is empty it
is undefined, and BraTS puts the diagonal of its volume in its place: nothing drops out of a mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from volseg.boxes import bounding_box
from volseg.metrics.overlap import Mask, check_masks

#: HD95 when one mask is empty: the diagonal of the 240 x 240 x 155 mm of BraTS 2017 to 2022.
HD95_PENALTY_MM = 373.13


def hausdorff_95(
    prediction: Mask,
    reference: Mask,
    spacing_mm: Sequence[float],
    penalty_mm: float = HD95_PENALTY_MM,
) -> float:
    """95th percentile of the Hausdorff distance, the larger one of the two directions.

    For each surface voxel of one mask the distance to the nearest surface voxel of the other is
    taken; 95 % of these distances are at most the value of that direction (with linear
    interpolation between ranks). This is what MONAI computes [1]. DeepMind's surface-distance,
    which BraTS uses from 2023 on, weighs each distance by the area of its surface element and
    differs by a fraction of a voxel.

    Args:
        prediction: Predicted mask, any number of spatial axes.
        reference: Reference mask, same shape.
        spacing_mm: Distance of neighbouring voxels along each axis.
        penalty_mm: Value when exactly one mask is empty.

    Returns:
        Distance in mm; 0 when both masks are empty.

    Raises:
        ValueError: If a mask is not boolean, the shapes differ or `spacing_mm` has another length.

    References:
        [1] `monai.metrics.compute_hausdorff_distance(percentile=95, spacing=...)`
    """
    check_masks(prediction, reference)
    if len(spacing_mm) != prediction.ndim:
        raise ValueError(f"{prediction.ndim} spacings are needed, got {tuple(spacing_mm)}")
    box = bounding_box(prediction | reference)
    predicted, expected = _surface(prediction[box]), _surface(reference[box])
    if not (predicted.any() and expected.any()):
        return penalty_mm if predicted.any() or expected.any() else 0.0
    return max(
        float(np.percentile(_distances(here, there, spacing_mm), 95))
        for here, there in ((predicted, expected), (expected, predicted))
    )


def _surface(mask: Mask) -> Mask:
    """Voxels of a mask that have a face neighbour outside; six shifts beat scipy's erosion."""
    padded = np.pad(mask, 1)
    core = tuple(slice(1, -1) for _ in mask.shape)
    inner = mask.copy()
    for axis in range(mask.ndim):
        for side in (slice(None, -2), slice(2, None)):
            inner &= padded[*core[:axis], side, *core[axis + 1 :]]
    return mask & ~inner


def _distances(here: Mask, there: Mask, spacing_mm: Sequence[float]) -> npt.NDArray[np.float64]:
    """Distance of each voxel of `here` to the nearest voxel of `there`, in mm, in no order."""
    # Surfaces of a good prediction share about half of their voxels, and those lie 0 mm apart.
    apart = np.argwhere(here & ~there) * spacing_mm
    # A plain tree is built faster than a balanced one, and is not slower to ask.
    tree = cKDTree(np.argwhere(there) * spacing_mm, balanced_tree=False, compact_nodes=False)
    distances = np.zeros(np.count_nonzero(here))
    distances[: len(apart)] = tree.query(apart)[0]
    return distances
