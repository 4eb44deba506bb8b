"""The profile of training cases, and how a case differs from it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from volseg.confidence.case_profile import CaseProfile, profile_of
from volseg.confidence.training_profile import TrainingProfile
from volseg.confidence.unlike import unlike
from volseg.config import PreprocessingConfig
from volseg.errors import ModelError
from volseg.images.case_images import CaseImages
from volseg.images.grid import Grid
from volseg.transforms import preprocess

TWO = ("t1n", "t2f")


def scan(background=0.0, rng=None, shape=(20, 24, 16)):
    """Two channels: a block of tissue of noise with three background voxels around it."""
    rng = rng or np.random.default_rng(0)
    tissue = np.pad(np.ones(shape, np.bool_), 3)
    first = rng.exponential(100, tissue.shape)
    second = 3000 - first - rng.exponential(100, tissue.shape)
    array = np.where(tissue, np.stack([first, second]), background).astype(np.float32)
    return CaseImages(array, Grid(tissue.shape, np.diag([2, 2, 2, 1.0])), None, ())


def profile(images, *, has_size=True, of_slices=False):
    options = PreprocessingConfig(channels=TWO, spacing_mm=(2, 2, 2))
    done = preprocess(images, options)
    return profile_of(done, TWO, (), has_size=has_size, of_slices=of_slices)


@pytest.fixture(scope="module")
def training():
    """Profile of six scans that differ by noise alone."""
    rng = np.random.default_rng(1)
    return TrainingProfile.of([profile(scan(rng=rng)) for _ in range(6)])


def of(**values):
    return CaseProfile({name.replace("__", "/"): value for name, value in values.items()})


def test_a_case_has_the_spacing_extent_and_volume_of_its_tissue():
    values = profile(scan()).values

    assert values["spacing_mm/S"] == 2
    # 98 % of a block of 20 voxels of 2 mm.
    assert values["extent_mm/R"] == pytest.approx(0.98 * 40)
    assert values["tissue_ml"] == pytest.approx(20 * 24 * 16 * 8 / 1000, rel=1e-3)
    assert values["end/A"] == 1


def test_a_ball_is_thin_at_its_ends():
    image = np.zeros((41, 41, 41), np.float32)
    inside = ((np.indices(image.shape) - 20) ** 2).sum(axis=0) <= 20**2
    image[inside] = np.random.default_rng(0).gamma(4, 100, np.count_nonzero(inside))
    images = CaseImages(
        np.stack([image, image]), Grid(image.shape, np.diag([2, 2, 2, 1.0])), None, ()
    )

    # One voxel of 2 mm inside: a disc with a squared radius of 39, against 400 in the middle.
    assert profile(images).values["end/S"] == pytest.approx(39 / 400, abs=0.02)


def test_slices_without_a_size_have_pixels_and_no_length_along_the_stack():
    values = profile(scan(), has_size=False, of_slices=True).values

    assert values["area_pixels"] == pytest.approx(20 * 24 * 4, rel=1e-3)
    assert not [name for name in values if name.endswith(("/S", "_ml")) or "_mm" in name]


def test_grey_values_are_described_by_percentiles_and_correlations():
    values = profile(scan()).values

    # An exponential distribution has the median ln 2 and the 99th percentile ln 100, if mean and
    # standard deviation are 1.
    assert values["p50/t1n"] == pytest.approx(math.log(2) - 1, abs=0.03)
    assert values["correlation/t1n t2f"] < -0.2
    assert values["covered/t2f"] == 1
    assert values["below/t1n"] == 0
    assert values["scale/t1n"] == pytest.approx(100 * math.log(100), rel=0.1)


def test_a_missing_channel_has_no_grey_values():
    done = preprocess(scan(), PreprocessingConfig(channels=TWO, spacing_mm=(2, 2, 2)))
    values = profile_of(done, TWO, ("t2f",), has_size=True, of_slices=False).values

    assert "p50/t1n" in values
    assert not [
        name for name in values if "t2f" in name and not name.startswith(("scale", "below", "at"))
    ]


def test_a_further_scan_of_the_same_source_is_like_the_training_cases(training):
    assert unlike(training, profile(scan(rng=np.random.default_rng(2)))) == []


def test_slices_that_are_thicker_than_in_training_are_said_with_both_numbers():
    training = TrainingProfile.of([of(spacing_mm__S=1.0) for _ in range(6)])

    assert unlike(training, of(spacing_mm__S=5.5)) == [
        "the spacing along S is 5.5 mm, but 1 mm in the training cases"
    ]
    assert unlike(training, of(spacing_mm__S=1.0)) == []


def test_a_single_slice_is_not_compared_as_a_whole_stack():
    training = TrainingProfile.of([of(slices=20.0, area_pixels=3000.0, scale__t1n=200.0)] * 6)

    assert unlike(training, of(slices=1.0, area_pixels=300.0, scale__t1n=200.0)) == []
    assert len(unlike(training, of(slices=1.0, area_pixels=300.0, scale__t1n=1.0))) == 1
    assert len(unlike(training, of(slices=12.0, area_pixels=300.0, scale__t1n=200.0))) == 1


def test_the_range_of_few_cases_is_wider_than_that_of_many():
    few, many = (
        TrainingProfile.of([of(tissue_ml=1400.0 + 10 * (n % 3)) for n in range(count)])
        for count in (3, 60)
    )

    assert unlike(few, of(tissue_ml=2900.0)) == []
    assert unlike(many, of(tissue_ml=2900.0)) == [
        "the volume of the tissue is 2900 ml, but 1400 to 1420 ml in the training cases; is the "
        "skull stripped (volseg prepare strips it), and is the spacing in the file in mm?"
    ]


def test_one_odd_training_case_does_not_make_every_case_usual():
    volumes = [1400.0] * 9 + [4000.0]
    training = TrainingProfile.of([of(tissue_ml=volume) for volume in volumes])

    assert unlike(training, of(tissue_ml=3900.0)) == []  # within the range of training
    assert len(unlike(training, of(tissue_ml=500.0))) == 1


def test_another_background_is_said_although_preprocessing_removes_it(training):
    assert unlike(training, profile(scan(background=-1.0)))[0] == (
        "the background of t1n is -1, but 0 in the training cases"
    )


def test_images_from_0_to_1_are_said_although_they_are_normalised_alike(training):
    images = scan()
    scaled = replace(images, array=images.array / images.array.max())

    (sentence,) = unlike(training, profile(scaled))

    assert sentence.startswith("the 99th percentile of t1n above background is 0.")
    assert sentence.endswith("give the images as those of the training cases were given")


def test_normalised_images_are_said(training):
    images = scan()
    tissue = images.array != 0
    scores = np.where(tissue, (images.array - 1000) / 500, 0).astype(np.float32)

    sentences = unlike(training, profile(replace(images, array=scores)))

    assert "darker than its background" in " ".join(sentences)


def test_inverted_grey_values_are_said(training):
    images = scan()
    array = images.array.copy()
    array[0] = np.where(array[0] > 0, array[0].max() + 1 - array[0], 0)

    sentences = unlike(training, profile(replace(images, array=array)))

    assert sentences == [
        "t1n looks inverted, dark for bright, by the grey values in the training cases; give the "
        "images as they were acquired"
    ]


def test_exchanged_channels_are_said(training):
    images = scan()

    sentences = unlike(training, profile(replace(images, array=images.array[::-1])))

    assert sentences[0].startswith("t1n and t2f look exchanged")


def test_one_channel_in_place_of_another_is_said(training):
    images = scan()
    array = images.array.copy()
    array[1] = array[0]

    sentences = unlike(training, profile(replace(images, array=array)))

    assert sentences[0].startswith("the correlation of t1n and t2f is 1, but -0.")


def test_a_channel_that_is_empty_in_most_of_the_tissue_is_said(training):
    images = scan()
    array = images.array.copy()
    array[1, :18] = 0

    sentences = unlike(training, profile(replace(images, array=array)))

    assert any("the share of the tissue in which t2f is not empty is" in one for one in sentences)


def test_a_profile_is_read_back_from_plain_data(training):
    assert TrainingProfile.from_dict(training.to_dict(), "m") == training
    case = profile(scan())
    assert CaseProfile.from_dict(case.to_dict()).values == case.values


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ([], "it"),
        ({"cases": 0, "ranges": {}, "backgrounds": {}}, "cases"),
        ({"cases": 2, "ranges": {"tissue_ml": [1.0, 2.0]}, "backgrounds": {}}, "ranges.tissue_ml"),
        *(
            ({"cases": 2, "ranges": {"tissue_ml": of}, "backgrounds": {}}, "ranges.tissue_ml.*")
            for of in (
                [1.0, 2.0, 1.5, 1e200],
                [1.0, 2.0, 1.5, -0.1],
                [2.0, 1.0, 1.5, 0.1],
                [1.0, 2.0, 2.5, 0.1],
            )
        ),
        ({"cases": 2, "ranges": {}, "backgrounds": {"t1n": ["black"]}}, "backgrounds.t1n.0"),
    ],
)
def test_another_document_is_no_profile(content, place):
    with pytest.raises(ModelError, match=rf"training cases in m is damaged \({place}: "):
        TrainingProfile.from_dict(content, "m")


def test_a_trait_of_a_later_volseg_is_left_out():
    content = {"cases": 2, "ranges": {"taste/t1n": [1.0, 2.0, 1.5, 0.1]}, "backgrounds": {}}

    assert TrainingProfile.from_dict(content, "m").ranges == {}


def test_a_profile_in_words_has_the_number_of_cases_spacing_and_volume():
    training = TrainingProfile.of([of(spacing_mm__S=1.0, tissue_ml=ml) for ml in (1256.0, 1573.0)])

    assert (
        training.in_words == "2 cases, spacing along S 1 mm, volume of the tissue 1260 to 1570 ml"
    )


def test_a_channel_with_few_voxels_gives_finite_numbers():
    images = scan(shape=(60, 60, 60))
    array = images.array.copy()
    array[1] = 0
    array[1, 20, 20, 20] = 5

    values = profile(replace(images, array=array)).values

    assert all(math.isfinite(value) for value in values.values())
