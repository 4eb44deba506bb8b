"""Features of a predicted region that tell without a reference how good it may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cc3d
import numpy as np
import numpy.typing as npt

#: Features that need the disagreement of copies or models.
OF_DISAGREEMENT = ("disagreement_inside",)

# Below it, a probability is taken as 0: the sum over millions of voxels would outweigh a lesion.
_LEAST_PROBABILITY = 0.05


def case_features(
    probabilities: npt.NDArray[np.floating],
    masks: Mapping[str, npt.NDArray[np.bool_]],
    disagreement: npt.NDArray[np.floating] | None,
    spacing_mm: Sequence[float],
) -> dict[str, dict[str, float]]:
    """Features of each region of a case; see `region_features`.

    Args:
        probabilities: Untempered region probabilities (R, I, J, K), in the order of `masks`.
        masks: Final mask (I, J, K) of each region, as `postprocess.decode` gives them.
        disagreement: Standard deviation (R, I, J, K) over members, or None with a single member.
        spacing_mm: Size of a voxel in mm.
    """
    of_members = [None] * len(masks) if disagreement is None else disagreement
    return {
        region: region_features(probability, mask, spread, spacing_mm)
        for (region, mask), probability, spread in zip(
            masks.items(), probabilities, of_members, strict=True
        )
    }


def region_features(
    probability: npt.NDArray[np.floating],
    mask: npt.NDArray[np.bool_],
    disagreement: npt.NDArray[np.floating] | None,
    spacing_mm: Sequence[float],
) -> dict[str, float]:
    """Features of a region of one case.

    Args:
        probability: Untempered probability (I, J, K) of the region.
        mask: Final mask (I, J, K) of the region.
        disagreement: Standard deviation (I, J, K) over members, or None with a single member.
        spacing_mm: Size of a voxel in mm.

    Returns:
        Features by name, all finite. An empty mask has `voxels` 0; its other features are those of
        the probabilities.

    Raises:
        ValueError: If the shapes differ.
    """
    if probability.shape != mask.shape or (
        disagreement is not None and disagreement.shape != mask.shape
    ):
        raise ValueError(f"probability has shape {probability.shape}, mask {mask.shape}")
    voxels = int(np.count_nonzero(mask))
    inside = probability[mask].astype(np.float64)
    features = {
        "voxels": float(voxels),
        "expected_dice": expected_dice(probability, mask),
        "highest": float(probability.max(initial=0.0)),
        "mean_inside": float(inside.mean()) if voxels else 0.0,
        "largest_share": _largest_share(mask) if voxels else 0.0,
    }
    if disagreement is not None:
        features["disagreement_inside"] = float(disagreement[mask].mean()) if voxels else 0.0
    return features


def expected_dice(probability: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_]) -> float:
    r"""Dice that the probabilities themselves expect of a mask, if they are calibrated.

    $2 \sum_P p / (|P| + \sum p)$: the expected overlap over the expected sizes. Probabilities below
    0.05 count as 0. 0 for an empty mask.

    Examples:
        >>> p = np.array([1.0, 0.75, 0.25, 0.0])
        >>> round(expected_dice(p, p >= 0.5), 4)
        0.875
    """
    if not mask.any():
        return 0.0
    counted = np.where(probability >= _LEAST_PROBABILITY, probability, 0).astype(np.float64)
    return float(2 * counted[mask].sum() / (np.count_nonzero(mask) + counted.sum()))


def _largest_share(mask: npt.NDArray[np.bool_]) -> float:
    """Share of the largest 26-connected component in the voxels of a mask."""
    sizes = np.bincount(cc3d.connected_components(mask, connectivity=26).ravel())[1:]
    return float(sizes.max() / sizes.sum())
