"""Volumes, lesions and diameters: hand-checkable shapes, and slow searches of small masks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from contourpy import contour_generator
from scipy import ndimage

from volseg.images.components import dilated, lesions
from volseg.images.grid import Grid
from volseg.measures import Diameters, Section, measure
from volseg.measures.outline import outline


def grid(shape, spacing_mm=(1.0, 1.0, 1.0)):
    return Grid(tuple(shape), np.diag([*spacing_mm, 1.0]))


def of_slice(flat, spacing_mm=(1.0, 1.0, 1.0)):
    """Measures of a mask (I, J) in the middle of three slices."""
    mask = np.zeros((*flat.shape, 3), bool)
    mask[..., 1] = flat
    return measure({"ET": mask}, grid(mask.shape, spacing_mm))["ET"]


def box(rows, columns, shape=(30, 30)):
    flat = np.zeros(shape, bool)
    flat[5 : 5 + rows, 5 : 5 + columns] = True
    return flat


def ellipse(radii, angle=0.0, spacing=(1.0, 1.0), size=90):
    """Mask of an ellipse of these radii in mm, turned by an angle in degrees."""
    x, y = np.meshgrid(
        *((np.arange(size) - size / 2 + 0.3) * step for step in spacing), indexing="ij"
    )
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along, across = x * cos + y * sin, y * cos - x * sin
    return (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1


def test_a_voxel_of_one_mm_measures_one_by_one_mm():
    found = of_slice(box(1, 1))

    assert (found.voxels, found.volume_ml, found.n_lesions) == (1, 0.001, 1)
    assert found.section == Section(1, 1.0, 2)
    assert found.diameter.longest_mm == pytest.approx(1.0)
    assert found.diameter.perpendicular_mm == pytest.approx(1.0)
    assert found.diameter.slice_number == 2


def test_an_empty_region_has_neither_lesion_nor_diameter():
    found = of_slice(box(0, 0))

    assert (found.voxels, found.volume_ml, found.n_lesions) == (0, 0.0, 0)
    assert found.section is None
    assert found.diameter is None


def test_the_longest_diameter_of_a_rectangle_is_its_diagonal():
    # The outline cuts the corners: from the middle of one side to the middle of the other.
    found = of_slice(box(4, 4)).diameter

    assert found.longest_mm == pytest.approx(5.0)  # 4 along one axis, 3 along the other
    # The chord through the centre of a square at a right angle to it is as long.
    assert found.perpendicular_mm == pytest.approx(5.0)
    assert found.product_mm2 == pytest.approx(25.0)


def test_a_row_of_voxels_is_as_long_as_its_voxels_and_as_wide_as_one():
    found = of_slice(box(7, 1)).diameter

    assert found.longest_mm == pytest.approx(7.0)
    assert found.perpendicular_mm == pytest.approx(1.0)


@pytest.mark.parametrize("angle", [0, 30, 45, 77])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 2.0)])
def test_an_ellipse_has_the_diameters_of_its_axes(angle, spacing):
    flat = ellipse((20.0, 9.0), angle, spacing, size=170)

    found = of_slice(flat, (*spacing, 5.0)).diameter

    # The outline lies within half a voxel of the ellipse.
    assert found.longest_mm == pytest.approx(40.0, abs=max(spacing))
    assert found.perpendicular_mm == pytest.approx(18.0, abs=1.5 * max(spacing))


def test_a_ring_is_measured_across_its_cavity():
    solid = ellipse((20.0, 12.0))
    ring = solid & ~ellipse((15.0, 8.0))

    one, other = of_slice(solid).diameter, of_slice(ring).diameter

    assert (one.longest_mm, one.perpendicular_mm) == (other.longest_mm, other.perpendicular_mm)


def test_both_ends_of_a_perpendicular_diameter_lie_on_the_lesion():
    # From the corner of an L to the line between its ends it is 14, but half of that is no lesion.
    corner = box(20, 1)
    corner[24, 5:25] = True

    found = of_slice(corner).diameter

    assert found.longest_mm == pytest.approx(20 * math.sqrt(2), rel=0.05)
    assert found.perpendicular_mm == pytest.approx(math.sqrt(2), rel=0.05)


def test_the_slice_with_the_largest_product_counts_not_the_longest_diameter():
    mask = np.zeros((40, 40, 4), bool)
    mask[2:38, 10, 1] = True  # 36 x 1
    mask[10:22, 5:17, 2] = True  # a square of 12

    found = measure({"ET": mask}, grid(mask.shape))["ET"]

    assert found.diameter.slice_number == 3
    assert found.diameter.longest_mm < 20


def test_diameters_are_of_one_lesion_and_not_from_one_to_another():
    flat = box(4, 4, (60, 60))
    flat[40:46, 40:46] = True

    found = of_slice(flat)

    assert found.n_lesions == 2
    assert found.diameter.longest_mm == pytest.approx(math.hypot(6, 5))


def test_parts_of_a_lesion_that_are_apart_in_a_slice_are_measured_apart():
    # A horseshoe: two legs in slice 2 that meet in slice 1.
    mask = np.zeros((60, 30, 3), bool)
    mask[5:55, 10:18, 0] = True
    mask[5:15, 10:20, 1] = mask[45:55, 10:20, 1] = True

    found = measure({"WT": mask}, grid(mask.shape))["WT"]

    assert found.n_lesions == 1
    assert found.diameter.slice_number == 1
    assert found.diameter.longest_mm == pytest.approx(math.hypot(50, 7))
    legs = measure({"WT": mask[..., 1:]}, grid((60, 30, 2)))["WT"].diameter
    assert legs.longest_mm == pytest.approx(math.hypot(10, 9))


@pytest.mark.parametrize("seed", range(12))
def test_diameters_are_those_of_a_slow_search(seed):
    flat, spacing = blob(seed), [(1.0, 1.0), (0.7, 1.9), (2.0, 0.5)][seed % 3]

    found = of_slice(flat, (*spacing, 3.0))

    longest, across = searched(flat, spacing)
    assert found.n_lesions == 1
    assert found.diameter.longest_mm == pytest.approx(longest, rel=1e-12)
    assert found.diameter.perpendicular_mm == pytest.approx(across, rel=1e-9)


def blob(seed):
    """A random mask, one lesion, no two voxels of which touch at a corner only."""
    rng = np.random.default_rng(seed)
    while True:
        noise = ndimage.gaussian_filter(rng.standard_normal((18, 18)), 1.5)
        flat = np.pad(noise > np.quantile(noise, 0.7), 2)
        flat = ndimage.binary_opening(flat, np.ones((2, 2)))
        one, other = flat[:-1, :-1] & flat[1:, 1:], flat[:-1, 1:] & flat[1:, :-1]
        touching = (
            (one ^ other) & (flat[:-1, :-1] == flat[1:, 1:]) & (flat[:-1, 1:] == flat[1:, :-1])
        )
        if flat.any() and not touching.any():
            return flat


def searched(flat, spacing):
    """Longest and perpendicular diameter by loops over the contour that matplotlib draws."""
    lines = contour_generator(z=flat.astype(float)).lines(0.5)
    polygons = [line[:, ::-1] * spacing for line in lines]
    points = [point for polygon in polygons for point in polygon]
    longest = max(math.dist(a, b) for a, b in itertools.combinations(points, 2))
    across = 0.0
    for a, b in itertools.combinations(points, 2):
        if math.dist(a, b) >= longest * (1 - 1e-12):
            across = max(across, widest(polygons, (b - a) / longest))
    return longest, across


def widest(polygons, along):
    across = np.array([-along[1], along[0]])
    best = 0.0
    for place in (point @ along for polygon in polygons for point in polygon):
        heights = []
        for polygon in polygons:
            for p, q in itertools.pairwise(polygon):
                s, t = p @ along - place, q @ along - place
                if abs(s) < 1e-9:
                    heights.append(p @ across)
                if abs(t) < 1e-9:
                    heights.append(q @ across)
                if s * t < 0 and min(abs(s), abs(t)) >= 1e-9:
                    heights.append((p + (q - p) * (s / (s - t))) @ across)
        best = max(best, max(heights) - min(heights))
    return best


def test_diameters_do_not_depend_on_the_orientation_of_the_file():
    flat = ellipse((14.0, 8.0), 30, size=40)
    mask = np.zeros((40, 40, 5), bool)
    mask[..., 3] = flat
    upright = of_slice(flat).diameter

    sagittal = Grid(
        (5, 40, 40), np.array([[0, -1.0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0] * 3 + [1]])
    )
    found = measure({"ET": mask.transpose(2, 0, 1)}, sagittal)["ET"].diameter

    assert found.longest_mm == pytest.approx(upright.longest_mm)
    assert found.perpendicular_mm == pytest.approx(upright.perpendicular_mm)
    assert found.slice_number == 4


@pytest.mark.parametrize("degrees", [10, 25])
def test_an_oblique_file_is_measured_in_the_plane_of_its_own_slices(degrees):
    flat = ellipse((14.0, 8.0), 30, size=40)
    straight = of_slice(flat, (1.0, 1.0, 4.0)).diameter
    mask = np.zeros((40, 40, 3), bool)
    mask[..., 1] = flat
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.array(
        [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.0, 1.0, 4.0])

    found = measure({"ET": mask}, Grid(mask.shape, affine))["ET"].diameter

    assert found.longest_mm == pytest.approx(straight.longest_mm)
    assert found.perpendicular_mm == pytest.approx(straight.perpendicular_mm)


def test_a_sheared_file_is_measured_where_its_voxels_lie():
    affine = np.eye(4)
    affine[:3, 1] = [0.5, 1.0, 0.0]
    mask = np.zeros((20, 20, 1), bool)
    mask[8, 4:14, 0] = True  # 10 voxels along the sheared axis

    found = measure({"ET": mask}, Grid(mask.shape, affine))["ET"]

    assert found.diameter.longest_mm == pytest.approx(10 * math.hypot(0.5, 1.0))
    assert found.section.area_mm2 == pytest.approx(10.0)


def test_without_the_size_of_a_voxel_there_are_counts_alone():
    mask = np.ones((3, 4, 2), bool)

    found = measure({"WT": mask}, grid(mask.shape), has_size=False)["WT"]

    assert (found.voxels, found.volume_ml, found.diameter) == (24, None, None)
    assert found.section == Section(12, None, 1)


def test_parts_with_six_voxels_between_them_are_one_lesion_and_with_seven_two():
    mask = np.zeros((20, 5, 5), bool)
    mask[2:4, 2, 2] = mask[10:12, 2, 2] = True
    apart = mask.copy()
    apart[10] = False

    assert lesions(mask)[1] == 1
    assert lesions(apart)[1] == 2
    assert lesions(apart, dilation=0)[1] == 2
    assert sorted(np.unique(lesions(apart)[0])) == [0, 1, 2]


@pytest.mark.parametrize("iterations", [1, 2, 3, 5])
def test_a_mask_grows_as_by_scipy(iterations):
    mask = np.random.default_rng(iterations).random((14, 11, 9)) > 0.98
    mask[0, 0, 0] = True  # beyond the border there is nothing

    expected = ndimage.binary_dilation(
        mask, ndimage.generate_binary_structure(3, 2), iterations=iterations
    )

    np.testing.assert_array_equal(dilated(mask, iterations), expected)


def test_an_outline_is_closed():
    ends = outline(blob(3)).reshape(-1, 2).tolist()

    assert all(ends.count(point) == 2 for point in ends)


def test_the_product_is_of_both_diameters():
    assert Diameters(30.0, 20.0, 77).product_mm2 == 600.0
