"""Postprocessing: from region probabilities to clean region masks that fit a label map."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import cc3d
import numpy as np
import numpy.typing as npt

from volseg.config import InferenceConfig
from volseg.labels import LabelScheme

# Headers keep about seven digits of the size of a voxel, and fewer for an oblique grid.
NEARLY_1 = 1 - 1e-5


def remove_small_components(
    mask: npt.NDArray[np.bool_], minimum_mm3: float, voxel_mm3: float
) -> npt.NDArray[np.bool_]:
    """Mask without its 26-connected components that are smaller than `minimum_mm3`.

    Args:
        mask: Boolean array (I, J, K).
        minimum_mm3: Smallest volume of a component that stays, in mm3.
        voxel_mm3: Volume of a voxel in mm3.

    Returns:
        Boolean array (I, J, K); `mask` itself is not changed.
    """
    if minimum_mm3 <= voxel_mm3 or not mask.any():
        return mask.copy()
    components = cc3d.connected_components(mask, connectivity=26)
    volumes_mm3 = np.bincount(components.ravel()) * voxel_mm3
    stays = volumes_mm3 >= minimum_mm3 * NEARLY_1
    stays[0] = False
    return stays[components]


def keep_largest_component(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The largest 26-connected component of `mask` (I, J, K).

    If each patient has one tumour, separate components are errors; Buda et al. also keep the
    largest in masks of lower-grade glioma
    (https://github.com/mateuszbuda/brain-segmentation-pytorch).
    """
    return np.asarray(cc3d.largest_k(mask, k=1, connectivity=26) > 0)


def decode(
    probabilities: npt.ArrayLike,
    scheme: LabelScheme,
    options: InferenceConfig,
    voxel_mm3: float,
) -> dict[str, npt.NDArray[np.bool_]]:
    """Region masks from region probabilities, exactly as a label map can store them.

    A voxel belongs to a region if its probability reaches the threshold there and in all regions
    around it, as by the winners of BraTS. Of two regions that share no label, such as WT and the
    resection cavity, the more probable region takes the voxel, or the later region if they are
    equal. Then small components are removed, or all but the largest, together with the inner
    regions inside them. At last, a region that is too small in total becomes part of the region
    around it.

    Args:
        probabilities: Region probabilities (R, I, J, K), in CPU memory.
        scheme: Label scheme of the R regions, in its order.
        options: Thresholds, and the components and regions that stay.
        voxel_mm3: Volume of a voxel in mm3.

    Returns:
        A boolean mask (I, J, K) for each region, by name; `scheme.masks(scheme.label_map(masks))`
        gives the same again.
    """
    values = dict(zip(scheme.regions, np.asarray(probabilities), strict=True))
    raw = {name: of_region >= options.threshold_of(name) for name, of_region in values.items()}
    _keep_apart(raw, values, scheme)
    return cleaned(_as_written(raw, scheme), scheme, options, voxel_mm3)


def cleaned(
    masks: Mapping[str, npt.NDArray[np.bool_]],
    scheme: LabelScheme,
    options: InferenceConfig,
    voxel_mm3: float,
) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks without the components and regions that `options` remove: the last part of `decode`.

    Args:
        masks: Mask (I, J, K) of each region, as a label map holds them.
        scheme: Label scheme of the regions.
        options: The components and regions that stay.
        voxel_mm3: Volume of a voxel in mm3.
    """
    smallest_mm3 = options.min_component_mm3
    clean = {
        region: remove_small_components(mask, smallest_mm3.get(region, 0.0), voxel_mm3)
        for region, mask in masks.items()
    }
    clean |= {name: keep_largest_component(clean[name]) for name in options.largest_component}
    written = _as_written(clean, scheme)
    return _without_small_regions(written, scheme, options.min_region_mm3, voxel_mm3)


def _keep_apart(
    masks: Mapping[str, npt.NDArray[np.bool_]],
    probabilities: Mapping[str, npt.NDArray[np.floating]],
    scheme: LabelScheme,
) -> None:
    """Leave each voxel to the more probable of two regions without a common label, in place.

    Only regions with the same parent compete; the inner regions of the loser lose the voxel too.
    """
    for one, other in combinations(scheme.regions, 2):
        apart = set(scheme.regions[one]).isdisjoint(scheme.regions[other])
        if apart and scheme.parent(one) == scheme.parent(other):
            both = masks[one] & masks[other]
            other_wins = probabilities[other] >= probabilities[one]
            masks[one][both & other_wins] = False
            masks[other][both & ~other_wins] = False


def _without_small_regions(
    masks: dict[str, npt.NDArray[np.bool_]],
    scheme: LabelScheme,
    minimum_mm3: Mapping[str, float],
    voxel_mm3: float,
) -> dict[str, npt.NDArray[np.bool_]]:
    """The masks without regions that are smaller than their minimum, and without what they hold."""
    small = {
        region
        for region, least_mm3 in minimum_mm3.items()
        if np.count_nonzero(masks[region]) * voxel_mm3 < least_mm3 * NEARLY_1
    }
    if not small:
        return masks
    emptied = {name: mask & (name not in small) for name, mask in masks.items()}
    return _as_written(emptied, scheme)


def _as_written(
    masks: Mapping[str, npt.NDArray[np.bool_]], scheme: LabelScheme
) -> dict[str, npt.NDArray[np.bool_]]:
    """The masks that a label map of `masks` holds: nested, with one label per voxel."""
    return scheme.masks(scheme.label_map(masks))
