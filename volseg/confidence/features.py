"""Features of a predicted region from which its Dice can be predicted without a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from volseg.images.boxes import bounding_box

#: Features of probabilities and masks; each is larger for a better prediction.
OF_PROBABILITIES = ("expected_dice", "compactness", "single_peak")
#: Feature of the disagreement of mirrored copies or models.
OF_DISAGREEMENT = "steadiness"

# Probabilities farther from the mask are of other places, which the model rejects.
_REACH_MM = 2.0
# More parts of a profile would show the roughness of the outline.
_MOST_PARTS = 24
# Maps may be rounded to steps of 1/255.
_ROUNDING = 0.01

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]


def case_features(
    probabilities: Floats,
    masks: Mapping[str, Mask],
    disagreement: Floats | None,
    spacing_mm: Sequence[float],
) -> dict[str, dict[str, float]]:
    """Features of each region of a case; the shape is that of all regions together.

    The shape of an inner region says little: a good mask of enhancing tumour is often a thin rim.

    Args:
        probabilities: Untempered region probabilities (R, I, J, K), in the order of `masks`.
        masks: Final mask (I, J, K) of each region, as `postprocess.decode` gives them.
        disagreement: Standard deviation (R, I, J, K) over members, or None with a single member.
        spacing_mm: Size of a voxel in mm.
    """
    whole = np.logical_or.reduce(list(masks.values()))
    shape = shape_features(whole)
    of_members = [None] * len(masks) if disagreement is None else list(disagreement)
    return {
        region: region_features(probability, mask, spread, spacing_mm) | shape
        for (region, mask), probability, spread in zip(
            masks.items(), probabilities, of_members, strict=True
        )
    }


def region_features(
    probability: Floats, mask: Mask, disagreement: Floats | None, spacing_mm: Sequence[float]
) -> dict[str, float]:
    """Features of a region alone; all are 0 for an empty mask, except `highest`.

    Args:
        probability: Untempered probability (I, J, K) of the region.
        mask: Final mask (I, J, K) of the region.
        disagreement: Standard deviation (I, J, K) over members, or None with a single member.
        spacing_mm: Size of a voxel in mm.

    Returns:
        `voxels`, `highest` probability, `expected_dice`, `compactness`, `single_peak`, and
        `steadiness` with several members; all finite.

    Raises:
        ValueError: If the shapes differ.
    """
    for array in (probability, disagreement):
        if array is not None and array.shape != mask.shape:
            raise ValueError(f"an array of shape {array.shape} is given for mask {mask.shape}")
    return {
        "voxels": float(np.count_nonzero(mask)),
        "highest": float(probability.max(initial=0.0)),
        "expected_dice": expected_dice(probability, mask, spacing_mm),
        **shape_features(mask),
        **(
            {}
            if disagreement is None
            else {OF_DISAGREEMENT: steadiness(probability, mask, disagreement)}
        ),
    }


def shape_features(mask: Mask) -> dict[str, float]:
    """`compactness` and `single_peak` of a mask (I, J, K)."""
    return {"compactness": compactness(mask), "single_peak": single_peak(mask)}


def expected_dice(probability: Floats, mask: Mask, spacing_mm: Sequence[float]) -> float:
    r"""Dice that the probabilities themselves expect of a mask.

    $2 \sum_P p / (|P| + \sum_N p)$: the expected overlap over the expected sizes, where $N$ is the
    mask $P$ and all voxels within 2 mm of it, or within the shortest side of a voxel if that is
    longer. It equals the Dice if the probabilities are calibrated and the tumour lies within $N$;
    networks usually expect more than they achieve. 0 for an empty mask.

    Examples:
        >>> p = np.array([[[1.0, 0.75, 0.25, 0.0]]])
        >>> round(expected_dice(p, p >= 0.5, (1.0, 1.0, 1.0)), 4)
        0.875
    """
    if not mask.any():
        return 0.0
    reach_mm = max(_REACH_MM, min(spacing_mm))
    margin = [int(reach_mm / side) + 1 for side in spacing_mm]
    box = tuple(
        slice(max(0, side.start - more), side.stop + more)
        for side, more in zip(bounding_box(mask), margin, strict=True)
    )
    inside, near = mask[box], probability[box]
    distances_mm = ndimage.distance_transform_edt(~inside, sampling=spacing_mm)
    expected_size = near[distances_mm <= reach_mm * (1 + 1e-6)].sum(dtype=np.float64)
    overlap = near[inside].sum(dtype=np.float64)
    return float(2 * overlap / (np.count_nonzero(inside) + expected_size))


def compactness(mask: Mask) -> float:
    """Volume of a mask over that of the ellipsoid with the same second moments, 0 to 1.

    1 for an ellipsoid, whatever its axes, and less for masks with branches, holes or distant parts.
    Stretching or shearing the grid does not change it. 0 for an empty mask.
    """
    places = np.argwhere(mask).astype(np.float64)
    if not len(places):
        return 0.0
    # A voxel is a cube, whose own variance is 1/12 along each axis.
    moments = np.cov(places.T, bias=True) + np.eye(mask.ndim) / 12
    ellipsoid = 4 / 3 * np.pi * 5**1.5 * np.sqrt(np.linalg.det(moments))
    return min(1.0, float(len(places) / ellipsoid))


def single_peak(mask: Mask) -> float:
    """How nearly the sections of a mask first grow and then shrink, 0 to 1; mean over the axes.

    Along each axis, the largest section is divided by the sum of all increases from section to
    section: 1 for a single peak, 1/2 for two equal parts with a gap. Of long profiles, 24 parts are
    compared. 0 for an empty mask.
    """
    if not mask.any():
        return 0.0
    inside = mask[bounding_box(mask)]
    axes = range(inside.ndim)
    profiles = [np.count_nonzero(inside, axis=tuple(a for a in axes if a != axis)) for axis in axes]
    return float(np.mean([_share_of_peak(profile) for profile in profiles]))


def _share_of_peak(profile: npt.NDArray[np.intp]) -> float:
    parts = min(len(profile), _MOST_PARTS)
    volumes = np.concatenate([[0], np.cumsum(profile)])
    edges = np.linspace(0, len(profile), parts + 1)
    sections = np.diff(np.interp(edges, np.arange(len(volumes)), volumes))
    increases = np.clip(np.diff(sections, prepend=0.0), 0, None).sum()
    return min(1.0, float(sections.max() / increases))


def steadiness(probability: Floats, mask: Mask, disagreement: Floats) -> float:
    r"""How safely members agree on the voxels of a mask, 0 to 1.

    Mean over the mask of $a^2 / (a^2 + s^2 + 0.01^2)$: $a$ is the distance of the probability from
    the lowest in the mask, and $s$ the standard deviation over the members. 0 for an empty mask.
    """
    if not mask.any():
        return 0.0
    inside = probability[mask].astype(np.float64)
    above = (inside - inside.min()) ** 2
    spread = disagreement[mask].astype(np.float64) ** 2
    return float((above / (above + spread + _ROUNDING**2)).mean())
