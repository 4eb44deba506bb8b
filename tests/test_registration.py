"""Registration, resampling and label maps back on native grids, on small synthetic heads."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from volseg.errors import RegistrationError
from volseg.images.grid import Grid
from volseg.phantoms.head import make_phantom
from volseg.preparation.bias import without_bias
from volseg.preparation.itk import in_other_world, matrix_of, simpleitk
from volseg.preparation.native import to_native
from volseg.preparation.plausibility import (
    check_mirrored,
    check_similarity,
    check_transform,
    notes_on_similarity,
)
from volseg.preparation.quality import Quality
from volseg.preparation.registration import check_sides, register
from volseg.preparation.resampling import covered, resample
from volseg.preparation.templates import mni152
from volseg.preparation.volume import Volume

AFFINE = np.diag([-3.0, -3.0, 3.0, 1.0])
AFFINE[:3, 3] = (110, 95, -70)
GRID = Grid((80, 80, 52), AFFINE)


@pytest.fixture(scope="module")
def head():
    return make_phantom(np.random.default_rng(1), GRID.shape)


def move(degrees, mm, centre=(-9, -24, 6)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = np.array(centre) - matrix[:3, :3] @ centre + mm
    return matrix


def moved(values, grid, matrix, interpolation="linear"):
    """The image whose world is `matrix` times the world of the given image."""
    return Volume(resample(Volume(values, GRID), grid, np.linalg.inv(matrix), interpolation), grid)


def errors_mm(found, true, mask, grid):
    points = np.argwhere(mask) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    apart = points @ (found - true)[:3, :3].T + (found - true)[:3, 3]
    return np.linalg.norm(apart, axis=1)


def test_a_moved_channel_comes_back(head):
    true = move((8, -4, 5), (9, -7, 6))
    fixed = Volume(head.images["t1c"], GRID)

    found = register(moved(head.images["t2f"], GRID, true), fixed)

    errors = errors_mm(found.matrix, true, fixed.values > 0, GRID)
    assert errors.mean() < 1
    assert errors.max() < 2
    assert found.quality.before < found.quality.after
    assert found.quality.peak > 0.45


def test_equal_images_give_an_equal_matrix(head):
    fixed = Volume(head.images["t1c"], GRID)
    moving = moved(head.images["t1n"], GRID, move((3, 0, 2), (4, 0, 2)))

    first, second = register(moving, fixed).matrix, register(moving, fixed).matrix

    assert np.array_equal(first, second)


def test_an_image_without_contrast_is_refused(head):
    flat = Volume(np.full(GRID.shape, 7.0), GRID)

    with pytest.raises(RegistrationError, match="the moving image is constant, 7 in every voxel"):
        register(flat, Volume(head.images["t1c"], GRID))


def test_noise_is_refused(head):
    noise = np.random.default_rng(0).normal(100, 20, GRID.shape)

    with pytest.raises(RegistrationError, match="check that both images show the same head"):
        register(Volume(noise, GRID), Volume(head.images["t1c"], GRID))


def test_an_empty_mask_is_refused(head):
    volume = Volume(head.images["t1c"], GRID)

    with pytest.raises(RegistrationError, match="the mask of the fixed image is empty"):
        register(volume, volume, fixed_mask=np.zeros(GRID.shape, bool))


@pytest.mark.parametrize(
    ("quality", "sentence"),
    [
        (Quality(1.1, 1.2, 1.05, 0.2), "the images share 20% of the head"),
        (Quality(1.3, 1.2, 1.05, 1.0), "did not converge"),
        (Quality(1.1, 1.2, 1.15, 1.0), "do not show the same head: 25% of their"),
    ],
)
def test_images_that_do_not_resemble_each_other_are_refused(quality, sentence):
    with pytest.raises(RegistrationError, match=sentence):
        check_similarity(quality, same_head=True)


def test_an_image_that_the_search_left_in_place_converged():
    check_similarity(Quality(1.806, 1.805, 1.3, 1.0), same_head=True)


@pytest.mark.parametrize(("away", "noted"), [(1.114, True), (1.106, False)])
def test_images_that_resemble_each_other_little_are_accepted_with_a_note(away, noted):
    quality = Quality(1.1, 1.2, away, 1.0)

    check_similarity(quality, same_head=True)

    notes = notes_on_similarity(quality)
    assert bool(notes) == noted
    assert all("(43% of their mutual information" in note for note in notes)


def test_an_image_stored_in_mirror_image_is_refused(head):
    fixed = Volume(head.images["t1c"], GRID)
    mirrored = Volume(np.ascontiguousarray(head.images["t2f"][::-1]), GRID)
    in_doubt = Quality(1.05, 1.1, 1.056, 1.0)

    with pytest.raises(RegistrationError, match="fits better with left and right exchanged"):
        check_sides(mirrored, fixed, in_doubt)


def test_an_image_that_fits_worse_in_mirror_image_is_accepted():
    check_mirrored(Quality(1.1, 1.13, 1.08, 1.0), Quality(1.1, 1.12, 1.09, 1.0))


def test_a_head_and_an_atlas_may_resemble_each_other_less():
    check_similarity(Quality(1.1, 1.2, 1.15, 1.0), same_head=False)


@pytest.mark.parametrize(
    ("matrix", "sentence"),
    [
        (move((60, 0, 0), (0, 0, 0)), "turns the image by 60 degrees"),
        (move((0, 0, 0), (0, 200, 0)), "the centres of the heads 200 mm apart"),
        (np.diag([1.6, 1, 1, 1.0]), "scales the head by 1.00 to 1.60"),
        (np.diag([-1.0, 1, 1, 1]), "turns the image by 180 degrees"),
    ],
)
def test_implausible_transforms_are_refused(matrix, sentence):
    with pytest.raises(RegistrationError, match=sentence):
        check_transform(matrix, np.zeros(3), np.zeros(3))


angles = st.tuples(*[st.floats(-40, 40)] * 3)
shifts = st.tuples(*[st.floats(-50, 50)] * 3)


@settings(max_examples=25)
@given(angles, shifts)
def test_a_matrix_survives_the_world_of_itk(degrees, mm):
    matrix = move(degrees, mm)
    turned = in_other_world(matrix)
    transform = simpleitk().AffineTransform(3)
    transform.SetMatrix(turned[:3, :3].ravel().tolist())
    transform.SetTranslation(turned[:3, 3].tolist())

    assert np.allclose(matrix_of(transform), matrix, atol=1e-9)
    assert np.allclose(in_other_world(turned), matrix)


@settings(max_examples=10)
@given(angles, shifts, angles, shifts)
def test_resampling_follows_composed_matrices(first, there, second, back):
    """The world coordinates, as an image, are resampled into the coordinates that they lead to."""
    matrix = move(first, there) @ move(second, back)
    grid = Grid((6, 5, 4), np.diag([10.0, 12, 14, 1]))
    large = Grid((90, 90, 90), np.diag([20.0, 20, 20, 1]))
    large.affine[:3, 3] = -890
    place = np.indices(large.shape, np.float32)[1] * 20 - 890

    found = resample(Volume(place, large), grid, matrix)

    points = np.moveaxis(np.indices(grid.shape), 0, -1) @ grid.affine[:3, :3].T
    expected = points @ matrix[1, :3] + matrix[1, 3]
    assert np.allclose(found, expected, atol=0.01)


def test_thick_slices_hold_the_mean_of_what_they_span():
    values = np.arange(12, dtype=np.float32).reshape(1, 1, 12)
    thick = Grid((1, 1, 3), np.diag([1.0, 1, 4, 1]) + 1.5 * np.eye(4)[:, 3] * np.eye(4)[[2]].T)

    found = resample(Volume(values, Grid((1, 1, 12), np.eye(4))), thick, np.eye(4))

    assert found.ravel().tolist() == pytest.approx([1.5, 5.5, 9.5])


def test_splines_invent_no_values_and_the_outside_is_background():
    step = np.zeros((8, 8, 8), np.int16)
    step[4:] = 100
    grid = Grid(step.shape, np.eye(4))
    shift = np.eye(4)
    shift[0, 3] = 0.5

    found = resample(Volume(step, grid), grid, shift, "bspline", background=-7)

    inside = covered(grid, grid, shift)
    assert found[inside].min() >= 0
    assert found[inside].max() <= 100
    assert inside.all()
    shift[0, 3] = 2
    found = resample(Volume(step, grid), grid, shift, "linear", background=-7)
    assert (found[~covered(grid, grid, shift)] == -7).all()
    assert covered(grid, grid, shift)[:, 0, 0].tolist() == [True] * 6 + [False] * 2


@pytest.mark.parametrize("spacing", [(3, 3, 3), (2, 2, 6)])
def test_label_maps_come_back_to_native_grids(head, spacing):
    """A region drawn on the native grid goes to the prepared grid and comes back."""
    matrix = move((7, 5, -9), (6, 4, -8))
    shape = tuple(int(n * 3 / mm) for n, mm in zip(GRID.shape, spacing, strict=True))
    affine = matrix @ AFFINE @ np.diag([*np.array(spacing) / 3, 1])
    native = Grid(shape, affine)
    prepared = Grid((240, 240, 156), AFFINE @ np.diag([1 / 3, 1 / 3, 1 / 3, 1]))
    drawn = resample(Volume(head.label_map, GRID), native, np.linalg.inv(matrix), "label")

    there = resample(Volume(drawn, native), prepared, matrix, "label")
    back = to_native(there, prepared, native, matrix)

    assert back.dtype == np.uint8
    assert back.shape == native.shape
    for labels in ((1, 2, 3), (1, 3)):
        region, again = np.isin(drawn, labels), np.isin(back, labels)
        assert region.sum() * native.voxel_ml > 5
        assert 2 * (region & again).sum() / (region.sum() + again.sum()) > 0.97
        assert abs(again.sum() / region.sum() - 1) < 0.02


def test_the_atlas_of_nilearn_is_found_without_its_code():
    template = mni152()

    assert template.volume.grid.shape == (197, 233, 189)
    assert template.mask.shape == template.volume.values.shape
    assert 1700 < template.mask.sum() / 1000 < 2000


def test_a_bias_field_is_removed(head):
    image = head.images["t1n"].astype(np.float64)
    field = np.linspace(0.6, 1.4, GRID.shape[0])[:, None, None]
    mask = image > 0

    corrected = without_bias(Volume(image * field, GRID), mask).values

    def unevenness(values):
        halves = values[:40][mask[:40]], values[40:][mask[40:]]
        return abs(np.log(np.median(halves[0]) / np.median(halves[1])))

    assert unevenness(corrected) < unevenness(image * field) / 3
    assert (corrected[~mask] == 0).all()


def test_a_real_channel_comes_back_within_a_millimetre(real_data):
    folder = real_data / "brats2021" / "BraTS2021_00006"
    t1c, t2f = (nib.load(folder / f"{folder.name}_{name}.nii.gz") for name in ("t1ce", "flair"))
    grid = Grid(t1c.shape, t1c.affine)
    fixed = np.asarray(t1c.dataobj)
    true = move((6, -5, 4), (8, 9, -6), (-120, 120, 75))
    moving = Volume(np.asarray(t2f.dataobj), Grid(t2f.shape, true @ t2f.affine))

    found = register(moving, Volume(fixed, grid))

    errors = errors_mm(found.matrix, true, fixed > 0, grid)
    assert errors.mean() < 1
    assert errors.max() < 2
