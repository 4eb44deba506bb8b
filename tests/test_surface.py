import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import compute_hausdorff_distance
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter

from volseg.images.nifti_reading import read_label_map
from volseg.labels import get_scheme
from volseg.metrics.surface import HD95_PENALTY_MM, hausdorff_95

# Both libraries used for comparison call what their own dependencies have deprecated.
from_monai = pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
from_deepmind = pytest.mark.filterwarnings(
    "ignore:.*`scipy.ndimage.*` namespace:DeprecationWarning"
)


def blob(seed, shape=(20, 24, 16)):
    noise = np.random.default_rng(seed).standard_normal(shape)
    return gaussian_filter(noise, 2) > 0.08


def monai_hd95(prediction, reference, spacing_mm):
    tensors = [torch.from_numpy(mask)[None, None] for mask in (prediction, reference)]
    distance = compute_hausdorff_distance(
        *tensors, include_background=True, percentile=95, spacing=spacing_mm
    )
    return distance.item()


def plain_hd95(prediction, reference, spacing_mm):
    """The definition, word by word: every distance by the distance transform of the volume."""
    surfaces = [mask & ~binary_erosion(mask) for mask in (prediction, reference)]
    to_surface = [distance_transform_edt(~surface, spacing_mm) for surface in surfaces]
    return max(
        np.percentile(distance[surface], 95)
        for distance, surface in zip(to_surface[::-1], surfaces, strict=True)
    )


def test_a_single_voxel_moved_two_voxels_of_three_mm_is_six_mm_away():
    prediction, reference = np.zeros((2, 5, 5, 5), dtype=bool)
    prediction[2, 2, 1] = reference[2, 2, 3] = True

    assert hausdorff_95(prediction, reference, (1.0, 1.0, 3.0)) == 6.0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shear", [0.3, -1.4])
def test_axes_that_are_not_perpendicular_are_measured_along_their_steps(seed, shear):
    """Beside every distance of every pair of surface voxels, in mm of the world."""
    steps = np.array([[1.0, shear, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 2.5]])
    masks = blob(seed, (12, 14, 10)), blob(seed + 9, (12, 14, 10))
    surfaces = [np.argwhere(mask & ~binary_erosion(mask)) @ steps.T for mask in masks]
    between = np.linalg.norm(surfaces[0][:, None] - surfaces[1][None], axis=2)
    expected = max(np.percentile(between.min(axis=axis), 95) for axis in (0, 1))

    assert hausdorff_95(*masks, steps) == pytest.approx(expected)
    assert hausdorff_95(*masks, np.diag([1.0, 1.0, 2.5])) == hausdorff_95(*masks, (1.0, 1.0, 2.5))


def test_the_percentile_interpolates_and_the_larger_direction_counts():
    # A row of 21 voxels and one of 31: 0 mm one way, and 21 times 0 mm, then 1 to 10 mm the other.
    # 95 % of the 31 distances is rank 28.5 when counted from 0: between 8 mm and 9 mm.
    prediction, reference = np.zeros((2, 1, 31), dtype=bool)
    prediction[:, :21] = reference[:] = True

    assert hausdorff_95(prediction, reference, (1.0, 1.0)) == 8.5
    assert hausdorff_95(reference, prediction, (1.0, 1.0)) == 8.5


def test_a_solid_cube_and_its_shell_have_one_surface():
    solid = np.zeros((9, 9, 9), dtype=bool)
    solid[1:8, 1:8, 1:8] = True
    shell = solid.copy()
    shell[2:7, 2:7, 2:7] = False

    assert hausdorff_95(shell, solid, (1.0, 1.0, 1.0)) == 0.0


def test_both_masks_empty_is_no_distance():
    empty = np.zeros((3, 3, 3), dtype=bool)

    assert hausdorff_95(empty, empty, (1.0, 1.0, 1.0)) == 0.0


def test_one_empty_mask_costs_the_diagonal_of_a_brats_volume():
    empty, full = np.zeros((3, 3, 3), dtype=bool), np.ones((3, 3, 3), dtype=bool)

    assert hausdorff_95(empty, full, (1.0, 1.0, 1.0)) == 373.13
    assert hausdorff_95(full, empty, (1.0, 1.0, 1.0)) == 373.13
    assert hausdorff_95(full, empty, (1.0, 1.0, 1.0), penalty_mm=337.0) == 337.0
    assert pytest.approx(np.linalg.norm([240, 240, 155]), abs=0.01) == HD95_PENALTY_MM


@from_monai
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.7, 1.3, 4.0)])
@pytest.mark.parametrize("seed", range(4))
def test_blobs_at_the_border_agree_with_monai(seed, spacing_mm):
    prediction, reference = blob(seed), blob(seed + 10)

    ours = hausdorff_95(prediction, reference, spacing_mm)

    assert ours > 1
    assert ours == pytest.approx(monai_hd95(prediction, reference, spacing_mm), rel=1e-5)


@from_monai
@settings(max_examples=40)
@given(
    arrays(bool, (4, 5, 3)).filter(np.any),
    arrays(bool, (4, 5, 3)).filter(np.any),
    st.tuples(*[st.floats(0.25, 6)] * 3),
)
def test_any_two_masks_agree_with_monai_in_either_order(prediction, reference, spacing_mm):
    ours = hausdorff_95(prediction, reference, spacing_mm)

    assert ours == pytest.approx(monai_hd95(prediction, reference, spacing_mm), rel=1e-5)
    assert ours == hausdorff_95(reference, prediction, spacing_mm)
    assert hausdorff_95(reference, reference, spacing_mm) == 0.0


# A look around finds the neighbours up to 4 voxels away, a tree those beyond.
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.7, 1.3, 4.0)])
@pytest.mark.parametrize("moved", [0, 1, 4, 5, 8, 15])
def test_near_and_far_distances_agree_with_the_definition(moved, spacing_mm):
    reference = np.pad(blob(3), 10)
    prediction = np.roll(np.pad(blob(4) | blob(3), 10), moved, axis=0)

    ours = hausdorff_95(prediction, reference, spacing_mm)

    assert ours == pytest.approx(plain_hd95(prediction, reference, spacing_mm), rel=1e-12)


@settings(max_examples=100)
@given(
    arrays(bool, (3, 25)).filter(np.any),
    arrays(bool, (3, 25)).filter(np.any),
    st.tuples(*[st.floats(0.25, 6)] * 2),
)
def test_any_two_flat_masks_agree_with_the_definition(prediction, reference, spacing_mm):
    ours = hausdorff_95(prediction, reference, spacing_mm)

    assert ours == pytest.approx(plain_hd95(prediction, reference, spacing_mm), rel=1e-12)


def test_the_order_in_memory_changes_nothing():
    masks = blob(3), blob(4)
    turned = [np.asfortranarray(mask) for mask in masks]

    assert hausdorff_95(*turned, (0.7, 1.3, 4.0)) == hausdorff_95(*masks, (0.7, 1.3, 4.0))


def test_the_masks_stay_as_they_are():
    prediction, reference = blob(3), blob(4)
    before = prediction.copy(), reference.copy()

    hausdorff_95(prediction, reference, (1.0, 1.0, 1.0))

    assert np.array_equal(prediction, before[0])
    assert np.array_equal(reference, before[1])


@from_monai
@pytest.mark.parametrize("moved", [1, 12])
def test_regions_of_a_real_case_agree_with_monai(real_data, moved):
    path = real_data / "brats2021" / "BraTS2021_01479" / "BraTS2021_01479_seg.nii.gz"

    for reference in get_scheme("brats2021").masks(read_label_map(path)[0]).values():
        prediction = np.roll(reference, moved, axis=0) | np.roll(reference, -moved, axis=2)
        ours = hausdorff_95(prediction, reference, (1.0, 1.0, 1.0))
        theirs = monai_hd95(prediction, reference, (1.0, 1.0, 1.0))
        assert ours == pytest.approx(theirs, rel=1e-5)


@from_deepmind
def test_moved_cubes_agree_with_surface_distance():
    # Every surface element of a moved cube is weighted alike, so both definitions agree.
    deepmind = pytest.importorskip("surface_distance", reason="surface-distance is not installed")
    prediction, reference = np.zeros((2, 16, 16, 16), dtype=bool)
    reference[3:9, 3:9, 3:9] = True
    prediction[3:9, 3:9, 6:12] = True
    spacing_mm = (1.0, 1.5, 2.0)

    distances = deepmind.compute_surface_distances(reference, prediction, spacing_mm)

    theirs = deepmind.compute_robust_hausdorff(distances, 95)
    assert hausdorff_95(prediction, reference, spacing_mm) == theirs == 6.0


@from_deepmind
@pytest.mark.parametrize("seed", range(3))
def test_blobs_differ_from_surface_distance_by_less_than_a_voxel(seed):
    deepmind = pytest.importorskip("surface_distance", reason="surface-distance is not installed")
    prediction, reference = blob(seed), blob(seed + 10)

    distances = deepmind.compute_surface_distances(reference, prediction, (1.0, 1.0, 1.0))

    theirs = deepmind.compute_robust_hausdorff(distances, 95)
    assert abs(hausdorff_95(prediction, reference, (1.0, 1.0, 1.0)) - theirs) < 1


def test_a_spacing_for_each_axis_is_demanded():
    mask = np.ones((2, 2, 2), dtype=bool)

    with pytest.raises(ValueError, match=r"3 spacings are needed, got \(1.0, 1.0\)"):
        hausdorff_95(mask, mask, (1.0, 1.0))


def test_masks_of_two_shapes_have_no_distance():
    with pytest.raises(ValueError, match="one shape"):
        hausdorff_95(np.ones((2, 2), dtype=bool), np.ones((2, 3), dtype=bool), (1.0, 1.0))
