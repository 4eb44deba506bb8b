"""Windows of grey values: CT in Hounsfield units, and percentiles of other channels."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from ct_scans import make_ct
from scipy import ndimage

from volseg.config import PreprocessingConfig
from volseg.errors import ImageError
from volseg.images.case_images import CaseImages
from volseg.images.grid import Grid
from volseg.transforms import preprocess
from volseg.transforms.windowing import clipped_to_percentiles, in_window

WINDOW = (-20.0, 100.0)
#: Hounsfield units.
AIR, BONE, BRAIN, FLUID = -1000, 900, 40, -5
HEAD, SKULL, INNER = np.s_[4:20, 4:20, 2:14], np.s_[5:19, 5:19, 3:13], np.s_[6:18, 6:18, 4:12]
VENTRICLE, SINUS = np.s_[10:13, 10:13, 7:9], np.s_[14:16, 14:16, 7:9]


def head_ct(air=AIR, padding=AIR):
    """A head of skin, bone and brain with a ventricle and a sinus of air, int16 (24, 24, 16)."""
    volume = np.full((24, 24, 16), air, np.int16)
    volume[:2], volume[-2:], volume[:, :2], volume[:, -2:] = (padding,) * 4
    volume[HEAD] = 30
    volume[SKULL] = BONE
    volume[INNER] = BRAIN + np.random.default_rng(0).integers(-9, 10, volume[INNER].shape)
    volume[VENTRICLE] = FLUID
    volume[SINUS] = air
    return volume


def images(*channels, missing=()):
    array = np.stack(channels)
    return CaseImages(array, Grid(array.shape[1:], np.eye(4)), None, (), missing)


def options(**more):
    return PreprocessingConfig(**{"channels": ("ct",), "windows": {"ct": WINDOW}} | more)


def test_values_are_clipped_to_the_window_and_begin_at_0():
    values, tissue = in_window(head_ct(), WINDOW, "ct")

    assert values.dtype == np.float32
    assert values[5, 5, 5] == 120  # bone: the width of the window
    assert values[10, 10, 7] == FLUID + 20
    assert values[0, 0, 0] == values[14, 14, 7] == 0
    assert (values[4, 4, 2], tissue[4, 4, 2]) == (50, True)


def test_what_is_below_the_window_is_background_only_around_the_head():
    _, tissue = in_window(head_ct(), (0.0, 80.0), "ct")

    expected = np.zeros_like(tissue)
    expected[HEAD] = True
    # The ventricle and the sinus lie within the head.
    np.testing.assert_array_equal(tissue, expected)


@pytest.mark.parametrize("padding", [-1024, -2000, -3024])
def test_padding_around_the_air_changes_nothing(padding):
    padded = preprocess(images(head_ct(padding=padding)), options(), np.float32)
    plain = preprocess(images(head_ct()), options(), np.float32)

    np.testing.assert_array_equal(padded.image, plain.image)
    assert padded.notes == plain.notes == ()


def test_noisy_air_is_background_too():
    noisy = head_ct()
    air = noisy == AIR
    noisy[air] += np.random.default_rng(0).normal(0, 12, air.sum()).astype(np.int16)

    noisy_case = preprocess(images(noisy), options(), np.float32)

    np.testing.assert_array_equal(
        noisy_case.image, preprocess(images(head_ct()), options(), np.float32).image
    )
    assert noisy_case.notes == ()


def test_a_brain_whose_surroundings_are_0_keeps_its_fluid_of_0():
    stripped = np.zeros((24, 24, 16), np.int16)
    stripped[INNER] = head_ct()[INNER]
    stripped[VENTRICLE] = stripped[SINUS] = 0

    _, tissue = in_window(stripped, WINDOW, "ct")

    expected = np.zeros_like(tissue)
    expected[INNER] = True
    np.testing.assert_array_equal(tissue, expected)


def test_with_intensity_unit_the_ends_of_the_window_become_0_and_1():
    done = preprocess(images(head_ct()), options(intensity="unit"), np.float32)

    assert done.image.shape == (1, 16, 16, 12)
    assert done.image[0, 1, 1, 1] == 1
    assert done.image[0, 6, 6, 5] == pytest.approx((FLUID + 20) / 120)


def test_standardised_values_have_mean_0_over_the_head_in_the_window():
    values, tissue = in_window(head_ct(), WINDOW, "ct")
    expected = (values[HEAD] - values[tissue].mean()) / values[tissue].std()

    done = preprocess(images(head_ct()), options(), np.float32)

    np.testing.assert_allclose(done.image[0], expected, atol=1e-5)


def test_resampled_air_stays_0_and_the_border_of_the_head_is_no_darker_than_air():
    done = preprocess(
        images(head_ct()), options(spacing_mm=(2, 2, 2), intensity="unit"), np.float32
    )

    # Halfway between air, 0, and skin, 50 of 120; with air at -1000 it would be far below.
    assert done.image[0, 0, 3, 3] == pytest.approx(0.5 * 50 / 120)
    assert 0 <= done.image.min() <= done.image.max() <= 1
    assert not done.image[0][~done.tissue].any()


def test_each_channel_has_its_own_window_and_others_have_none():
    mri = np.zeros((24, 24, 16), np.int16)
    mri[INNER] = np.random.default_rng(1).integers(90, 110, mri[INNER].shape)
    alone = preprocess(images(mri), PreprocessingConfig(channels=("t2f",)), np.float32)

    both = preprocess(images(head_ct(), mri), options(channels=("ct", "t2f")), np.float32).image

    np.testing.assert_array_equal(both[1, 2:14, 2:14, 2:10], alone.image[0])
    np.testing.assert_array_equal(
        both[0], preprocess(images(head_ct()), options(), np.float32).image[0]
    )


def test_with_a_share_of_background_the_head_in_the_window_is_tissue_too():
    with_share = preprocess(images(head_ct()), options(background=0.08), np.float32)

    np.testing.assert_array_equal(
        with_share.image, preprocess(images(head_ct()), options(), np.float32).image
    )


def test_a_channel_that_stands_in_for_another_brings_its_window_along():
    two = options(channels=("ct", "adc"), fill_missing="ct")

    image = preprocess(images(head_ct(), head_ct(), missing=("adc",)), two, np.float32).image

    np.testing.assert_array_equal(image[0], image[1])


def test_a_scan_in_other_units_is_refused():
    shifted = head_ct() + 1024  # as stored by many scanners, without their intercept

    with pytest.raises(ImageError) as error:
        preprocess(images(shifted), options(), np.float32)

    assert str(error.value) == (
        "ct holds values from 24 to 1924, and 0.3% of its tissue lies within its window of -20 to "
        "100; rescale the image to the units of data.windows (CT: Hounsfield units, air is -1000), "
        "or change the window"
    )


# How a CT may come: stripped, cropped, clipped to a window or to 0, with noise.
COMES_AS = {
    "as it is": lambda head, brain: head,
    "stripped to 0": lambda head, brain: np.where(brain, head, 0),
    "stripped to air": lambda head, brain: np.where(brain, head, -1024),
    "stripped and noisy": lambda head, brain: np.where(
        brain, head + np.random.default_rng(1).normal(0, 12, head.shape).round(), 0
    ),
    "clipped": lambda head, brain: head.clip(0, 80),
    "stripped and clipped": lambda head, brain: np.where(brain, head, 0).clip(0, 80),
    "clipped from below": lambda head, brain: head.clip(0, 3000),
    "cropped": lambda head, brain: head[16:48, 16:48, 12:36],
}
IS_NO_CT = {
    "stored without intercept": (
        lambda head: head + 1024,
        "in its middle lies within .* no CT in Hounsfield units;",
    ),
    "moved by 1000": (
        lambda head: (head + 1000).clip(0),
        "in its middle lies within .* no CT in Hounsfield units;",
    ),
    "scaled": (lambda head: head.clip(0, 80) / 80, "from 0 to 1, and its window is 0 to 80;"),
}


@pytest.fixture(scope="module")
def noisy_head():
    """A synthetic CT (64, 64, 48) and the mask of its brain."""
    head = make_ct(np.random.default_rng(0), (64, 64, 48)).images["ct"].astype(np.float32)
    smooth = ndimage.gaussian_filter(head, 1)
    parts, _ = ndimage.label(ndimage.binary_erosion((smooth > -20) & (smooth < 150)))
    return head, ndimage.binary_dilation(parts == parts[32, 32, 24])


@pytest.mark.parametrize("how", COMES_AS)
def test_ct_is_taken_with_air_and_without(noisy_head, how):
    for window in ((0.0, 80.0), (-20.0, 100.0), (20.0, 60.0)):
        _, tissue = in_window(COMES_AS[how](*noisy_head), window, "ct")

        assert tissue.any()


@pytest.mark.parametrize("how", IS_NO_CT)
def test_ct_in_other_units_is_refused_though_its_air_lies_in_the_window(noisy_head, how):
    change, problem = IS_NO_CT[how]

    with pytest.raises(ImageError, match=problem):
        in_window(change(noisy_head[0]), (0.0, 80.0), "ct")


def test_real_mri_is_no_ct(real_data):
    files = [
        file
        for folder in ("raw_unregistered", "orientation_ras", "brats2021", "brats2023")
        for file in sorted((real_data / folder).rglob("*.nii.gz"))
        if "seg" not in file.name
    ]
    assert len(files) > 20

    for file in files:
        volume = np.asarray(nib.load(file).dataobj)[::2, ::2, ::2]
        with pytest.raises(ImageError, match=r"tissue .*lies within its window of 0 to 80"):
            in_window(volume, (0.0, 80.0), file.name)


def test_percentiles_clip_tissue_and_leave_background():
    values = np.arange(101, dtype=np.float64).reshape(101, 1, 1)
    tissue = values > 0

    clipped = clipped_to_percentiles(values, tissue, (0, 99))

    assert clipped.max() == pytest.approx(np.percentile(np.arange(1, 101), 99))
    assert clipped[0] == 0
    np.testing.assert_array_equal(clipped[1:90], values[1:90])


def test_percentiles_of_a_config_are_those_of_its_channel():
    mri = np.zeros((24, 24, 16), np.int16)
    mri[INNER] = np.random.default_rng(1).integers(90, 130, mri[INNER].shape)
    names = {"channels": ("adc", "swi"), "windows": {}}

    image = preprocess(
        images(mri, mri), options(**names, clip_percentiles={"swi": (10, 90)}), np.float32
    ).image

    clipped = np.clip(mri[INNER], *np.percentile(mri[INNER], (10, 90)))
    np.testing.assert_allclose(image[1], (clipped - clipped.mean()) / clipped.std(), atol=1e-5)
    assert image[0].max() > image[1].max()
