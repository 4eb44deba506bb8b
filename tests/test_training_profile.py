"""The profile of training cases, and how a case differs from it."""

from __future__ import annotations

import numpy as np
import pytest

from volseg.confidence.case_profile import CaseProfile, profile_of
from volseg.confidence.training_profile import TrainingProfile
from volseg.confidence.unlike import unlike
from volseg.images.grid import Grid
from volseg.transforms import Preprocessed


def prepared(shape=(10, 12, 8), spacing_mm=(2.0, 2.0, 2.0)):
    """A case of a block of tissue with one empty voxel around it; axes point to R, A and S."""
    tissue = np.pad(np.ones(shape, np.bool_), 1)
    grid = Grid(tissue.shape, np.diag([*spacing_mm, 1.0]))
    return Preprocessed(tissue[None].astype(np.float16), tissue, grid, grid)


def of(**values):
    return CaseProfile({name.replace("__", "/"): value for name, value in values.items()})


def test_a_case_has_the_spacing_extent_and_volume_of_its_tissue():
    profile = profile_of(prepared(), has_size=True, of_slices=False)

    assert profile.values["spacing_mm/S"] == 2
    assert profile.values["extent_mm/R"] == 20
    assert profile.values["extent_mm/S"] == 16
    assert profile.values["tissue_ml"] == pytest.approx(10 * 12 * 8 * 8 / 1000)


def test_slices_without_a_size_have_pixels_and_no_length_along_the_stack():
    profile = profile_of(prepared(spacing_mm=(1, 1, 1)), has_size=False, of_slices=True)

    assert {n: v for n, v in profile.values.items() if "pixels" in n} == {
        "extent_pixels/R": 10,
        "extent_pixels/A": 12,
    }
    assert not [name for name in profile.values if name.endswith(("/S", "_ml", "_mm"))]


def test_slices_that_are_thicker_than_in_training_are_said_with_both_numbers():
    training = TrainingProfile.of([of(spacing_mm__S=1.0) for _ in range(6)])

    assert unlike(training, of(spacing_mm__S=5.5)) == [
        "spacing along S is 5.5 mm, but 1 mm in the training cases"
    ]
    assert unlike(training, of(spacing_mm__S=1.0)) == []


def test_the_range_of_few_cases_is_wider_than_that_of_many():
    few, many = (
        TrainingProfile.of([of(tissue_ml=1400.0 + 10 * (n % 3)) for n in range(count)])
        for count in (3, 60)
    )

    assert unlike(few, of(tissue_ml=1800.0)) == []
    assert unlike(many, of(tissue_ml=1800.0)) == [
        "the volume of the tissue is 1800 ml, but 1400 to 1420 ml in the training cases"
    ]


def test_a_profile_is_read_back_from_plain_data():
    training = TrainingProfile.of([of(tissue_ml=1400.0, spacing_mm__R=0.9), of(tissue_ml=1300.0)])

    assert TrainingProfile.from_dict(training.to_dict()) == training


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ([], "it"),
        ({"cases": 0, "ranges": {}}, "cases"),
        ({"cases": 2, "ranges": {"tissue_ml": [1.0, 2.0]}}, "ranges.tissue_ml"),
    ],
)
def test_another_document_is_no_profile(content, place):
    with pytest.raises(ValueError, match=f"^{place}: "):
        TrainingProfile.from_dict(content)


def test_a_trait_of_a_later_volseg_is_left_out():
    content = {"cases": 2, "ranges": {"taste/t1n": [1.0, 2.0, 1.5, 0.1]}}

    assert TrainingProfile.from_dict(content).ranges == {}
