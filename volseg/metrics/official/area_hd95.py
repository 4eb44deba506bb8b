"""HD95 over surface elements weighted by area, as BraTS scores lesions since 2023.

The surface of a mask is that of DeepMind's surface-distance: each corner that eight voxels share is
a surface element if some of them, but not all, are in the mask. Its area follows from which of them
are, and its distance is that to the nearest surface element of the other mask. Beyond the border of
the volume nothing is in a mask, so the border is a surface too.

Source: Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for
radiotherapy", https://doi.org/10.2196/26151; areas: https://github.com/google-deepmind/surface-distance
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from surface_distance import lookup_tables

from volseg.images.boxes import bounding_box
from volseg.metrics.border_distances import nearest_distances

Side = npt.NDArray[np.bool_ | np.uint8]
Codes = npt.NDArray[np.uint8]
Spacing = tuple[float, float, float]
Reals = npt.NDArray[np.float64]

_ALL_EIGHT = 255
_SHARE = 0.95


def area_hd95_mm(
    reference: Side, prediction: Side, spacing_mm: Spacing, penalty_mm: float = math.inf
) -> float:
    """95th percentile of the Hausdorff distance by area, in mm, of two masks.

    Of each direction: the first distance, in ascending order, at which the surface elements up to
    it have 95 % of the area; the larger of both counts.

    Args:
        reference: Mask (I, J, K) of the reference, boolean. Bytes are taken as the programs take
            them: each corner gets the sum of its bits times the bytes, in a byte that overflows.
        prediction: Mask of the prediction, of the same shape.
        spacing_mm: Voxel size along the three axes in mm.
        penalty_mm: Value if exactly one mask is empty.
    """
    box = bounding_box(reference | prediction)
    codes = [_codes(side[box].view(np.uint8)) for side in (reference, prediction)]
    surfaces = [(code != 0) & (code != _ALL_EIGHT) for code in codes]
    found = [surface.any() for surface in surfaces]
    if not all(found):
        return penalty_mm if any(found) else 0.0
    area_of = _areas(spacing_mm)
    points = [np.argwhere(surface) for surface in surfaces]
    return max(
        _percentile(nearest_distances(here, there, spacing_mm), area_of[code[surface]])
        for code, surface, here, there in zip(
            codes, surfaces, points, reversed(points), strict=True
        )
    )


def _percentile(distances: Reals, areas: Reals) -> float:
    """First distance, in ascending order, up to which the elements have 95 % of the area."""
    order = np.lexsort((areas, distances))
    areas = areas[order]
    rank = int(np.searchsorted(np.cumsum(areas) / np.sum(areas), _SHARE))
    return float(distances[order[min(rank, order.size - 1)]])


def _codes(side: Codes) -> Codes:
    """For each corner between voxels, which of its eight voxels are in a mask, as bits."""
    padded = np.pad(side, 1)
    codes = np.zeros([size - 1 for size in padded.shape], np.uint8)
    for at, bit in np.ndenumerate(lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL):
        corner = tuple(
            slice(start, start + size) for start, size in zip(at, codes.shape, strict=True)
        )
        codes += padded[corner] * np.uint8(bit)
    return codes


@lru_cache(maxsize=16)
def _areas(spacing_mm: Spacing) -> Reals:
    return np.asarray(lookup_tables.create_table_neighbour_code_to_surface_area(spacing_mm))
