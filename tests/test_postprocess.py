"""Small components, nesting, thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from volseg.config import InferenceConfig
from volseg.labels import LABEL_SCHEMES, get_scheme
from volseg.postprocess import decode, keep_largest_component, remove_small_components

BRATS = get_scheme("brats2021")


def _mask(shape, *boxes):
    mask = np.zeros(shape, dtype=bool)
    for box in boxes:
        mask[box] = True
    return mask


def keeping(
    min_component_mm3=None, *, largest=(), threshold=0.5, min_region_mm3=None
) -> InferenceConfig:
    return InferenceConfig(
        threshold=threshold,
        min_component_mm3=min_component_mm3 or {},
        largest_component=largest,
        min_region_mm3=min_region_mm3 or {},
    )


def _probabilities(**masks):
    return np.stack([masks[region] for region in BRATS.regions]).astype(np.float32)


def test_a_component_below_the_minimum_goes_and_one_of_just_that_volume_stays():
    small, large = np.s_[0, 0, 0:3], np.s_[4, 4, 0:4]
    mask = _mask((6, 6, 6), small, large)

    kept = remove_small_components(mask, minimum_mm3=8, voxel_mm3=2)

    assert not kept[small].any()
    assert kept[large].all()
    assert kept.sum() == 4
    assert mask.sum() == 7


def test_voxels_that_touch_at_a_corner_are_one_component():
    mask = _mask((4, 4, 4), (0, 0, 0), (1, 1, 1), (2, 2, 2))

    assert remove_small_components(mask, 3, 1).sum() == 3


def test_volume_is_counted_in_mm3_despite_rounding():
    mask = np.ones((4, 5, 5), dtype=bool)

    # 100 x 0.29 is 28.999999999999996, which must not cost a lesion of 29 mm3.
    assert remove_small_components(mask, minimum_mm3=29, voxel_mm3=0.29).all()


@pytest.mark.parametrize("mask", [np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)])
def test_empty_and_full_masks_pass(mask):
    assert np.array_equal(remove_small_components(mask, 27, 1), mask)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**16), minimum=st.integers(0, 12))
def test_removal_agrees_with_scipy(seed, minimum):
    mask = np.random.default_rng(seed).random((7, 8, 6)) < 0.12

    components, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    sizes = ndimage.sum_labels(mask, components, range(1, count + 1))
    large = [index + 1 for index, size in enumerate(sizes) if size >= minimum]

    assert np.array_equal(remove_small_components(mask, minimum, 1.0), np.isin(components, large))


def test_a_probability_equal_to_the_threshold_counts():
    probabilities = np.array([0.49, 0.5, 0.51], dtype=np.float32).reshape(1, 3, 1, 1)

    masks = decode(probabilities, get_scheme("lgg"), keeping(), 1.0)

    assert masks["WT"].ravel().tolist() == [False, True, True]


def test_a_region_counts_only_inside_the_one_around_it():
    everywhere = np.ones((2, 2, 2))
    half = _mask((2, 2, 2), np.s_[0])

    masks = decode(_probabilities(WT=half, TC=everywhere, ET=everywhere), BRATS, keeping(), 1.0)

    assert list(masks) == ["WT", "TC", "ET"]
    for mask in masks.values():
        assert np.array_equal(mask, half)


def test_what_lies_in_a_removed_component_goes_with_it():
    # Two voxels of ET make a component that may stay, in a whole tumour that is too small.
    tumour = _mask((8, 8, 8), np.s_[0, 0, 0:3])
    enhancing = _mask((8, 8, 8), np.s_[0, 0, 0:2])
    probabilities = _probabilities(WT=tumour, TC=tumour, ET=enhancing)

    masks = decode(probabilities, BRATS, keeping({"WT": 4, "ET": 2}), 1.0)

    assert not any(mask.any() for mask in masks.values())


def test_voxels_outside_the_region_around_do_not_make_a_component_larger():
    tumour = _mask((8, 8, 8), np.s_[0:2, 0:2, 0:2])
    core = _mask((8, 8, 8), np.s_[1, 1, 0:6])
    probabilities = _probabilities(WT=tumour, TC=core, ET=np.zeros_like(core))

    masks = decode(probabilities, BRATS, keeping({"TC": 3}), 1.0)

    assert masks["WT"].sum() == 8
    assert masks["TC"].sum() == 0


def test_only_the_named_regions_are_cleaned():
    tumour = _mask((8, 8, 8), np.s_[0:3, 0:3, 0:3])
    speck = _mask((8, 8, 8), (1, 1, 1))
    probabilities = _probabilities(WT=tumour, TC=speck, ET=speck)

    masks = decode(probabilities, BRATS, keeping({"ET": 2}), 1.0)

    assert masks["WT"].sum() == 27
    assert masks["TC"].sum() == 1
    assert masks["ET"].sum() == 0


@pytest.mark.parametrize(
    ("name", "probabilities", "label"),
    [
        # WT, TC, ET, RC: the cavity competes with the whole tumour, not with what lies in it.
        ("brats2024-gli", (0.9, 0.8, 0.6, 0.7), 3),
        ("brats2024-gli", (0.7, 0.9, 0.9, 0.8), 4),
        ("brats2024-gli", (0.4, 0.9, 0.9, 0.6), 4),
        # WT, TC, ET, CC
        ("brats2024-ped", (0.9, 0.9, 0.8, 0.7), 1),
        ("brats2024-ped", (0.9, 0.9, 0.7, 0.8), 3),
        ("brats2024-ped", (0.9, 0.9, 0.7, 0.7), 3),
    ],
)
def test_of_two_regions_that_exclude_each_other_the_more_probable_stays(name, probabilities, label):
    scheme = get_scheme(name)

    masks = decode(np.reshape(probabilities, (4, 1, 1, 1)), scheme, keeping(), 1.0)

    assert [bool(mask.all()) for mask in masks.values()] == [
        label in values for values in scheme.regions.values()
    ]
    assert scheme.label_map(masks).item() == label


@settings(max_examples=25)
@given(
    name=st.sampled_from(sorted(LABEL_SCHEMES)),
    seed=st.integers(0, 2**16),
    minimum=st.floats(0, 9),
)
def test_decoded_masks_are_those_of_the_label_map_that_is_written(name, seed, minimum):
    scheme = get_scheme(name)
    probabilities = np.random.default_rng(seed).random((len(scheme.regions), 6, 7, 5))

    masks = decode(
        probabilities, scheme, keeping(dict.fromkeys(scheme.regions, minimum), threshold=0.4), 1.5
    )

    assert list(masks) == list(scheme.regions)
    read_back = scheme.masks(scheme.label_map(masks))
    for region, mask in masks.items():
        assert np.array_equal(mask, read_back[region])
        assert np.array_equal(mask, remove_small_components(mask, minimum, 1.5))


@settings(max_examples=25)
@given(seed=st.integers(0, 2**16), minimum=st.floats(0, 30))
def test_decoded_regions_nest_and_survive_a_label_map(seed, minimum):
    probabilities = np.random.default_rng(seed).random((3, 6, 7, 5), dtype=np.float32)

    masks = decode(
        probabilities, BRATS, keeping({"TC": minimum, "WT": minimum}, threshold=0.6), 1.5
    )

    assert not (masks["ET"] & ~masks["TC"]).any()
    assert not (masks["TC"] & ~masks["WT"]).any()
    read_back = BRATS.masks(BRATS.label_map(masks))
    for region, mask in masks.items():
        assert np.array_equal(mask, read_back[region])


def test_of_components_joined_by_corners_the_one_with_most_voxels_stays():
    large, corner, apart = np.s_[0, 0, 0:3], np.s_[1, 1, 3], np.s_[4, 4, 0:3]
    mask = _mask((6, 6, 6), large, corner, apart)

    assert np.array_equal(keep_largest_component(mask), _mask((6, 6, 6), large, corner))
    assert not keep_largest_component(np.zeros((2, 2, 2), bool)).any()


def test_only_the_largest_component_of_the_regions_named_is_kept():
    large, small = np.s_[0, 0, 0:4], np.s_[4, 4, 0:2]
    whole, core = _mask((6, 6, 6), large, small), _mask((6, 6, 6), np.s_[0, 0, 0:1], small)
    probabilities = _probabilities(WT=whole, TC=core, ET=np.zeros((6, 6, 6)))

    masks = decode(probabilities, BRATS, keeping(largest=["WT"]), 1.0)

    assert np.array_equal(masks["WT"], _mask((6, 6, 6), large))
    # What lay in the component that is gone went with it.
    assert np.array_equal(masks["TC"], _mask((6, 6, 6), np.s_[0, 0, 0:1]))


def test_a_component_of_just_the_least_volume_stays_whatever_a_header_rounds():
    mask = np.zeros((4, 4, 4), bool)
    mask[1:3, 1:3, 1:3] = True

    for voxel_mm3 in (1.0, 1 - 4e-7, 1 + 4e-7):
        assert remove_small_components(mask, 8, voxel_mm3).any()
    assert not remove_small_components(mask, 9, 1.0).any()


def test_each_region_has_its_threshold():
    probabilities = np.full((3, 1, 1, 1), 0.4, dtype=np.float32)

    masks = decode(probabilities, BRATS, keeping(threshold={"WT": 0.3, "ET": 0.3}), 1.0)

    # TC is at 0.5, and ET counts only inside it.
    assert {region: bool(mask.any()) for region, mask in masks.items()} == {
        "WT": True, "TC": False, "ET": False,
    }  # fmt: skip
    everywhere = decode(probabilities, BRATS, keeping(threshold={"TC": 0.4, "WT": 0.4}), 1.0)
    assert BRATS.label_map(everywhere).item() == 1


def test_few_voxels_of_a_region_in_total_take_the_label_of_the_region_around():
    tumour, core = _mask((8, 8, 8), np.s_[0:6, 0:6, 0:6]), _mask((8, 8, 8), np.s_[0:4, 0:4, 0:4])
    enhancing = _mask((8, 8, 8), np.s_[0, 0, 0:2], np.s_[3, 3, 0:2])
    probabilities = _probabilities(WT=tumour, TC=core, ET=enhancing)

    enough = decode(probabilities, BRATS, keeping(min_region_mm3={"ET": 8}), 2.0)
    too_few = decode(probabilities, BRATS, keeping(min_region_mm3={"ET": 8.1}), 2.0)

    assert enough["ET"].sum() == 4
    assert not too_few["ET"].any()
    assert np.array_equal(too_few["TC"], core)
    assert set(BRATS.label_map(too_few)[enhancing]) == {1}


def test_a_region_is_measured_after_its_small_components_are_gone():
    core = _mask((8, 8, 8), np.s_[0:4, 0:4, 0:4])
    enhancing = _mask((8, 8, 8), np.s_[0, 0, 0:1], np.s_[3, 3, 0:3])
    probabilities = _probabilities(WT=core, TC=core, ET=enhancing)

    masks = decode(probabilities, BRATS, keeping({"ET": 2}, min_region_mm3={"ET": 4}), 1.0)

    assert not masks["ET"].any()


def test_what_lies_in_a_region_that_is_too_small_goes_with_it():
    core = _mask((8, 8, 8), np.s_[0, 0, 0:3])
    probabilities = _probabilities(WT=_mask((8, 8, 8), np.s_[0:4]), TC=core, ET=core)

    masks = decode(probabilities, BRATS, keeping(min_region_mm3={"TC": 4}), 1.0)

    assert masks["WT"].sum() == 256
    assert not masks["TC"].any()
    assert not masks["ET"].any()
