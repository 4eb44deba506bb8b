import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.images.grid import Grid, ras_from_lps

# 2 x 3 x 4 mm: i runs to the left, j to the head, k to the back.
TURNED = Grid(
    (10, 20, 30),
    np.array([[-2.0, 0, 0, 90], [0, 0, -4, 80], [0, 3, 0, -70], [0, 0, 0, 1]]),
)


def test_a_grid_knows_the_size_of_its_voxels():
    assert TURNED.spacing_mm == (2, 3, 4)
    assert TURNED.steps_mm.tolist() == [2, 3, 4]
    assert TURNED.voxel_ml == pytest.approx(0.024)


def test_a_grid_knows_where_its_axes_point_to():
    assert TURNED.orientation == "LSP"
    assert TURNED.axial_axis == 1
    assert TURNED.ras_axes.tolist() == [0, 2, 1]
    assert TURNED.ras_signs.tolist() == [-1, 1, -1]


def test_the_first_voxel_of_a_crop_is_where_it_was():
    crop = TURNED.crop((slice(1, 4), slice(2, 20), slice(5, 6)))

    assert crop.shape == (3, 18, 1)
    # 90 - 2 x 1, 80 - 4 x 5, -70 + 3 x 2.
    assert crop.affine[:3, 3].tolist() == [88, 60, -64]
    assert crop.spacing_mm == TURNED.spacing_mm


def test_in_ras_the_first_voxel_is_the_rightmost_of_those_at_the_back():
    ras = TURNED.ras

    assert (ras.orientation, ras.shape, ras.spacing_mm) == ("RAS", (10, 30, 20), (2, 4, 3))
    # 90 - 2 x 9, 80 - 4 x 29, and the lowest voxel stays the first.
    assert ras.affine[:3, 3].tolist() == [72, -36, -70]


@pytest.mark.parametrize("axes", ["RAS", "LPS", "ASR", "PIL"])
def test_an_array_in_ras_lies_on_the_grid_in_ras(axes):
    turn = nib.orientations.axcodes2ornt(axes)
    affine = np.diag([2.0, 3, 4, 1]) @ nib.orientations.inv_ornt_aff(turn, (2, 3, 4))
    grid = Grid((2, 3, 4), affine)
    array = np.arange(24).reshape(grid.shape)

    turned = grid.to_ras(array)

    assert turned.shape == grid.ras.shape
    for voxel in np.ndindex(turned.shape):
        place = grid.ras.in_voxels_of(grid) @ [*voxel, 1]
        assert array[tuple(place[:3].round().astype(int))] == turned[voxel]


def test_a_resampled_grid_shares_the_outer_edge_of_the_first_voxel():
    fine = Grid((10, 9, 8), np.diag([1.0, 1, 1, 1]))

    coarse = fine.resampled((2, 2, 1))

    assert coarse.shape == (5, 5, 8)
    assert coarse.spacing_mm == (2, 2, 1)
    assert coarse.affine[:3, 3].tolist() == [0.5, 0.5, 0]


def test_resampling_for_slices_keeps_their_distance():
    assert TURNED.resampled((1, 1, 1), spatial_dims=2).spacing_mm == (1, 1, 3)


def test_a_spacing_that_is_rounded_in_the_header_is_the_fraction_that_it_means():
    grid = Grid((4, 4, 4), np.diag([0.9999999, 1.0000001, 0.995, 1]))

    assert grid.spacing_ratios((2, 0.5, 1), 3).tolist() == [2, 0.5, 1]


def test_grids_are_equal_to_the_last_bit_whatever_was_assumed():
    same = Grid(TURNED.shape, TURNED.affine.copy(), notes=("mm assumed",))
    nearly = TURNED.affine.copy()
    nearly[0, 3] = np.nextafter(nearly[0, 3], 0)

    assert same == TURNED
    assert hash(same) == hash(TURNED)
    assert Grid(TURNED.shape, nearly) != TURNED
    assert Grid((10, 20, 31), TURNED.affine) != TURNED
    assert TURNED.affine.tolist() != TURNED


def test_a_displacement_is_that_of_the_corner_that_moves_most():
    longer = TURNED.affine.copy()
    longer[0, 0] *= 1.5  # -3 mm instead of -2

    # Corners lie at -0.5 and 9.5 along i: the latter moves by 9.5 mm.
    assert TURNED.displacement_mm(Grid(TURNED.shape, longer)) == 9.5


@pytest.mark.parametrize(
    "columns",
    [
        ([1, 0, 0], [0, 1, 0], [0, 0, 0]),
        ([1, 0, 0], [0, 1, 0], [1, 1, 0]),
        ([1, 0, 0], [0, 1, 0], [0, 0, np.nan]),
        ([1, 0, 0], [0, 1, 0], [0, 0, np.inf]),
    ],
    ids=["an axis without length", "axes in a plane", "NaN", "infinity"],
)
def test_a_grid_without_a_volume_is_degenerate(columns):
    affine = np.eye(4)
    affine[:3, :3] = np.transpose(columns)

    assert Grid((4, 4, 4), affine).is_degenerate
    assert not TURNED.is_degenerate


@given(
    st.permutations(range(3)),
    st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    st.tuples(*[st.floats(0.1, 10)] * 3),
)
def test_a_grid_in_ras_stays_as_it_is(axes, signs, spacing):
    affine = np.eye(4)
    affine[:3, :3] = np.diag(np.multiply(signs, spacing))[:, axes]
    ras = Grid((3, 4, 5), affine).ras

    assert ras.orientation == "RAS"
    assert ras.ras == ras
    assert ras.crop([slice(0, size) for size in ras.shape]) == ras


def test_of_an_affine_to_lps_the_first_two_world_axes_are_reversed():
    """Voxel (1, 1, 1) is 12 mm to the left and 17 mm to the front, 34 mm up."""
    lps = np.array([[2.0, 0, 0, 10], [0, 3, 0, -20], [0, 0, 4, 30], [0, 0, 0, 1]])

    ras = ras_from_lps(lps)

    assert (ras @ [1, 1, 1, 1]).tolist() == [-12, 17, 34, 1]
    assert Grid((2, 2, 2), ras).orientation == "LPS"
