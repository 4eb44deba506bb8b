"""Largest diameters of lesions in axial slices, as RANO measures them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from volseg.images.boxes import bounding_box
from volseg.images.components import lesions
from volseg.images.grid import Grid
from volseg.measures.outline import Points, outline

# Lengths that differ by a smaller share are equal.
_EQUAL = 1e-9


@dataclass(frozen=True)
class Diameters:
    """Longest diameter in an axial slice, and the longest perpendicular diameter in that slice.

    Attributes:
        longest_mm: Longest distance between two points of the outline of a lesion.
        perpendicular_mm: Longest distance at a right angle to it.
        slice_number: Number of the slice in the file, counted from 1.
    """

    longest_mm: float
    perpendicular_mm: float
    slice_number: int

    @property
    def product_mm2(self) -> float:
        """Product of both diameters, in mm2."""
        return self.longest_mm * self.perpendicular_mm


def in_plane_steps(grid: Grid) -> npt.NDArray[np.float64]:
    """Steps (2, 2) in mm from voxel to voxel in an axial slice, by row, in axes of the slice.

    They are exact for anisotropic, oblique and sheared grids.
    """
    first, second = np.delete(grid.affine[:3, :3], grid.axial_axis, axis=1).T
    along = first / np.linalg.norm(first)
    across = second - (second @ along) * along
    return np.array(
        [[np.linalg.norm(first), 0.0], [float(second @ along), float(np.linalg.norm(across))]]
    )


def largest_diameters(
    slices: npt.NDArray[np.bool_], steps: npt.NDArray[np.float64], first: int = 1
) -> Diameters:
    r"""Diameters of the lesion and the slice with the largest product of both.

    RANO measures a lesion in the axial slice where it is largest: its longest diameter and the
    longest diameter perpendicular to it in the same slice; response is judged by their product. [1]
    Diameters end at the outline halfway between voxels inside and outside, so a single voxel of
    1 mm measures 1 x 1 mm. They may cross a cavity, or a narrow gap between parts that `lesions`
    takes for one. Parts of a lesion with a wider gap in the slice are measured separately.

    Args:
        slices: Mask (K, I, J), slices first; at least one voxel.
        steps: Steps in a slice; see `in_plane_steps`.
        first: Number of the first slice.

    References:
        [1] Wen et al., "RANO 2.0: Update to the Response Assessment in Neuro-Oncology Criteria for
            High- and Low-Grade Gliomas in Adults", Journal of Clinical Oncology 41(33), 2023.
            https://doi.org/10.1200/JCO.23.01059
    """
    best = Diameters(0.0, 0.0, first)
    areas = np.count_nonzero(slices, axis=(1, 2))
    for index in np.argsort(-areas, kind="stable")[: np.count_nonzero(areas)]:
        for part in _parts(slices[index], steps, best.product_mm2):
            found = _diameters(part, steps, best.product_mm2)
            if found is not None and found[0] * found[1] > best.product_mm2 * (1 + _EQUAL):
                best = Diameters(*found, first + int(index))
    return best


def _parts(
    flat: npt.NDArray[np.bool_], steps: npt.NDArray[np.float64], least_mm2: float
) -> Iterator[npt.NDArray[np.bool_]]:
    """Masks of the parts of a slice whose product of diameters may be above `least_mm2`."""
    # The triangles on both sides of a longest diameter lie in the box of the outline, so the
    # product is at most twice the area of the box.
    least = least_mm2 / 2 / abs(float(np.linalg.det(steps)))
    box = bounding_box(flat)
    if math.prod(side.stop - side.start for side in box) <= least:
        return
    flat = flat[box]
    numbers = lesions(flat[..., None])[0][..., 0]
    for number, found in enumerate(ndimage.find_objects(numbers), start=1):
        if math.prod(side.stop - side.start for side in found) > least:
            yield numbers[found] == number


def _diameters(
    mask: npt.NDArray[np.bool_], steps: npt.NDArray[np.float64], least_mm2: float
) -> tuple[float, float] | None:
    """Longest and perpendicular diameter of a mask; None if the product is at most `least_mm2`."""
    segments = outline(mask) @ steps
    hull = ConvexHull(segments.reshape(-1, 2))
    if 2 * hull.volume <= least_mm2:  # the area, as the hull is flat
        return None
    corners = hull.points[hull.vertices]
    distances = squareform(pdist(corners))
    longest = float(distances.max())
    ends = np.argwhere(np.triu(distances) >= longest * (1 - _EQUAL))
    directions = [corners[b] - corners[a] for a, b in ends]
    # The hull has few segments, and is at least as wide as the outline.
    around = hull.points[hull.simplices]
    if longest * max(_perpendicular(around, along) for along in directions) <= least_mm2:
        return None
    return longest, max(_perpendicular(segments, along) for along in directions)


def _perpendicular(segments: Points, direction: npt.NDArray[np.float64]) -> float:
    """Longest distance across an outline at a right angle to a direction."""
    along = direction / np.linalg.norm(direction)
    turned = segments @ np.array([[along[0], -along[1]], [along[1], along[0]]])
    (begin, low), (end, high) = turned[:, 0].T, turned[:, 1].T
    # Between neighbouring ends of segments the distance is convex, so it is largest at one of them.
    places = np.unique(turned[..., 0])[:, None]
    tolerance = _EQUAL * float(np.ptp(places))
    is_there = abs(places - (begin + end) / 2) <= abs(end - begin) / 2 + tolerance
    # A segment at a right angle to the direction has all its heights in one place.
    is_steep = abs(end - begin) <= tolerance
    share = np.clip((places - begin) / np.where(is_steep, np.inf, end - begin), 0, 1)
    height, other = low + share * (high - low), np.where(is_steep, high, -np.inf)
    top = np.where(is_there, np.maximum(height, other), -np.inf).max(axis=1)
    other = np.where(is_steep, high, np.inf)
    bottom = np.where(is_there, np.minimum(height, other), np.inf).min(axis=1)
    return float((top - bottom).max())
