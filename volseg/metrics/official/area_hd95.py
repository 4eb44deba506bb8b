"""HD95 over surface elements weighted by area, as BraTS scores lesions since 2023."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from volseg.images.boxes import bounding_box
from volseg.metrics.border_distances import Reals
from volseg.metrics.official.surface_elements import Side, SurfaceElements
from volseg.metrics.official.voxels import Spacing

Surface = Sequence[SurfaceElements]
Indices = npt.NDArray[np.integer]

_SHARE = 0.95
# Shares are sums of areas; nearer to the share than this, the order of the sum decides.
_DOUBT = 1e-9
# Surface elements from which it pays to exclude those that are surely nearer or farther.
_MANY = 10_000


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
    sides = [SurfaceElements.of(side[box], spacing_mm) for side in (reference, prediction)]
    found = [side.areas.size > 0 for side in sides]
    if not all(found):
        return penalty_mm if any(found) else 0.0
    return surface_hd95_mm(sides[:1], sides[1:])


def surface_hd95_mm(reference: Surface, prediction: Surface) -> float:
    """`area_hd95_mm` of two surfaces, each in one or several pieces."""
    return max(_directed(reference, prediction), _directed(prediction, reference))


def _directed(here: Surface, there: Surface) -> float:
    corners = np.concatenate([piece.corners.indices for piece in here])
    areas = np.concatenate([piece.areas for piece in here])
    bounded = _bounded(corners, areas, there) if areas.size > _MANY else None
    return _percentile(_distances(corners, there), areas) if bounded is None else bounded


def _distances(corners: Indices, there: Surface) -> Reals:
    distances: Reals = np.minimum.reduce([piece.corners.distances_from(corners) for piece in there])
    return distances


def _percentile(distances: Reals, areas: Reals) -> float:
    """First distance, in ascending order, up to which the elements have 95 % of the area."""
    order = np.lexsort((areas, distances))
    areas = areas[order]
    rank = int(np.searchsorted(np.cumsum(areas) / np.sum(areas), _SHARE))
    return float(distances[order[min(rank, order.size - 1)]])


def _bounded(corners: Indices, areas: Reals, there: Surface) -> float | None:
    """The same distance, searched only where it can be; None if the order of a sum decides it.

    A distance is at least that to the box around the other surface, and at most that and the
    diagonal of the box. Around a small lesion this leaves a thin shell of a large component.
    """
    size = np.asarray(there[0].corners.steps)
    low = np.min([piece.corners.indices.min(axis=0) for piece in there], axis=0)
    high = np.max([piece.corners.indices.max(axis=0) for piece in there], axis=0)
    least = _distances_from_box(corners, low, high, size)
    diagonal = float(np.linalg.norm((high - low) * size)) + _DOUBT
    width, area = float(size.max()), float(areas.sum())
    shares = np.cumsum(np.bincount((least / width).astype(np.intp), areas)) / area
    first, last = np.searchsorted(shares, (_SHARE - _DOUBT, _SHARE + _DOUBT)) * width
    nearer = least < first - diagonal
    undecided = np.flatnonzero(~nearer & (least <= last + width + diagonal))
    distances = _distances(corners[undecided], there)
    order = np.argsort(distances)
    shares = (areas[nearer].sum() + np.cumsum(areas[undecided[order]])) / area
    if np.abs(shares - _SHARE).min() < _DOUBT:
        return None
    return float(distances[order[np.searchsorted(shares, _SHARE)]])


def _distances_from_box(corners: Indices, low: Indices, high: Indices, size: Reals) -> Reals:
    """Distances of points from a box, from a table of squared distances along each axis."""
    squared = np.zeros(len(corners))
    for axis, step in enumerate(size):
        at = corners[:, axis]
        places = np.arange(at.max() + 1)
        beyond = np.maximum(np.maximum(low[axis] - places, places - high[axis]), 0)
        squared += np.square(beyond * step)[at]
    return np.sqrt(squared, out=squared)
