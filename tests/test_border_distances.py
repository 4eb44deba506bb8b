import numpy as np
import pytest
from official_pairs import pair
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter

from volseg.metrics import lesionwise_scores
from volseg.metrics.border_distances import BorderDistances, border
from volseg.metrics.nsd import surface_dice
from volseg.metrics.surface import hausdorff_95

SPACINGS = ((1, 1, 1), (0.1, 0.2, 0.5), (0.2, 0.25, 3), (0.05, 0.05, 0.3), (0.3, 0.1, 0.7))


def blobs(seed, axes=3):
    noise = np.random.default_rng(seed).standard_normal((2, 14, 12, 16)[: axes + 1])
    return [gaussian_filter(side, 1) > 0.1 for side in noise]


def by_distance_maps(one, other, spacing):
    """Distances of both borders, from maps of the distance to each border."""
    borders = [mask & ~binary_erosion(mask) for mask in (one, other)]
    maps = [distance_transform_edt(~side, spacing) for side in borders]
    return maps[1][borders[0]], maps[0][borders[1]]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("axes", [2, 3])
def test_distances_between_borders_are_those_of_distance_maps(spacing, axes):
    for seed in range(5):
        one, other = blobs(seed, axes)
        found = BorderDistances.of(one, other, spacing[:axes])
        forth, back = by_distance_maps(one, other, spacing[:axes])
        np.testing.assert_allclose(found.forth, forth, rtol=1e-12)
        np.testing.assert_allclose(found.back, back, rtol=1e-12)
        assert found.percentile(95) == pytest.approx(np.percentile(np.hstack((forth, back)), 95))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("tolerance", [0.1, 0.5, 1.0, 2.0])
def test_surface_dice_counts_a_distance_equal_to_the_tolerance(spacing, tolerance):
    # 1.0 // 0.2 is 4 in floating point, but the fifth voxel is within 1 mm.
    for seed in range(5):
        one, other = blobs(seed)
        shares = [np.mean(side <= tolerance) for side in by_distance_maps(one, other, spacing)]
        assert surface_dice(one, other, spacing, tolerance) == pytest.approx(sum(shares) / 2)


def test_the_border_of_the_array_is_a_border():
    assert border(np.ones((3, 3), bool)).tolist() == [[True] * 3, [True, False, True], [True] * 3]


@pytest.mark.parametrize("spacing", [(1, 0, 1), (1, np.nan, 1), (1, np.inf, 1), (1, -1, 1)])
def test_a_voxel_without_a_size_is_refused(spacing):
    one, other = blobs(0)
    for score in (hausdorff_95, lambda *args: surface_dice(*args, 1.0)):
        with pytest.raises(ValueError, match="spacings must be finite and above 0, got"):
            score(one, other, spacing)
    with pytest.raises(ValueError, match="three voxel sizes above 0 are needed, got"):
        lesionwise_scores(one.astype(np.uint8), other.astype(np.uint8), spacing, "brats2017")


@pytest.mark.parametrize(
    "protocol", ["brats2017", "brats2023-gli", "brats2025-ssa", "brats2026-goat"]
)
def test_scores_do_not_depend_on_the_kind_of_integer_or_the_order_in_memory(protocol):
    reference, prediction, *_ = pair("2023-GLI", 0)
    if protocol == "brats2017":
        reference, prediction = (np.where(side == 3, 4, side) for side in (reference, prediction))
    expected = lesionwise_scores(reference, prediction, (1, 1, 1), protocol)
    for kinds in (("uint64", "int64"), (">i2", "int8")):
        arrays = (np.asfortranarray(reference.astype(kinds[0])), prediction.astype(kinds[1]))
        assert lesionwise_scores(*arrays, (1, 1, 1), protocol) == expected
