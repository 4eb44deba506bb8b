"""From region probabilities to clean, nested region masks."""

from __future__ import annotations

from collections.abc import Mapping

import cc3d
import numpy as np
import numpy.typing as npt

from volseg.labels import LabelScheme


def remove_small_components(
    mask: npt.NDArray[np.bool_], minimum_mm3: float, voxel_mm3: float
) -> npt.NDArray[np.bool_]:
    """Mask without its 26-connected components that are smaller than `minimum_mm3`.

    Args:
        mask: Boolean array (I, J, K).
        minimum_mm3: Volume that a component needs to stay, in mm3; one of just that volume stays.
        voxel_mm3: Volume of a voxel in mm3.

    Returns:
        Boolean array (I, J, K); `mask` itself is not changed.
    """
    if minimum_mm3 <= voxel_mm3 or not mask.any():
        return mask.copy()
    components = cc3d.connected_components(mask, connectivity=26)
    volumes_mm3 = np.bincount(components.ravel()) * voxel_mm3
    # A voxel of 0.1 x 0.1 x 0.1 mm is not quite 0.001 mm3 in floating point.
    stays = volumes_mm3 >= minimum_mm3 * (1 - 1e-9)
    stays[0] = False
    return stays[components]


def decode(
    probabilities: npt.ArrayLike,
    scheme: LabelScheme,
    threshold: float,
    min_component_mm3: Mapping[str, float],
    voxel_mm3: float,
) -> dict[str, npt.NDArray[np.bool_]]:
    """Region masks from region probabilities, each inside the region around it.

    A voxel belongs to a region when its probability reaches the threshold there and in every region
    around it, as the winners of BraTS decode. Then small components are removed; those inside a
    removed one go with it.

    Args:
        probabilities: Region probabilities (R, I, J, K), in memory of the CPU.
        scheme: Label scheme whose R regions these are, in its order.
        threshold: Smallest probability that counts, in (0, 1).
        min_component_mm3: Smallest component that stays, in mm3, for the regions named in it.
        voxel_mm3: Volume of a voxel in mm3.

    Returns:
        A boolean mask (I, J, K) for each region, by name.
    """
    raw = dict(zip(scheme.regions, np.asarray(probabilities) >= threshold, strict=True))
    clean = {
        region: remove_small_components(mask, min_component_mm3.get(region, 0.0), voxel_mm3)
        for region, mask in _nested(raw, scheme).items()
    }
    return _nested(clean, scheme)


def _nested(
    masks: Mapping[str, npt.NDArray[np.bool_]], scheme: LabelScheme
) -> dict[str, npt.NDArray[np.bool_]]:
    nested: dict[str, npt.NDArray[np.bool_]] = {}
    for region in sorted(masks, key=lambda name: -len(scheme.regions[name])):
        parent = scheme.parent(region)
        nested[region] = masks[region] if parent is None else masks[region] & nested[parent]
    return {region: nested[region] for region in masks}
