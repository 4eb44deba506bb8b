"""Label schemes: what each value means, and label maps to region masks and back."""

from __future__ import annotations

import copy
import pickle

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from volseg.errors import ConfigError, LabelError
from volseg.labels import LABEL_SCHEMES, SCHEME_ALIASES, LabelScheme, get_scheme, schemes_fitting

# What the organisers publish for each convention: label value -> regions it lies in.
CONVENTIONS = {
    "brats2021": {1: "WT TC", 2: "WT", 4: "WT TC ET"},
    "brats2023": {1: "WT TC", 2: "WT", 3: "WT TC ET"},
    "brats2024-gli": {1: "WT TC", 2: "WT", 3: "WT TC ET", 4: "RC"},
    "brats2024-ped": {1: "WT TC ET", 2: "WT TC", 3: "WT TC CC", 4: "WT"},
    "brats2015": {1: "WT TC NCR", 2: "WT", 3: "WT TC", 4: "WT TC ET"},
    "msd": {1: "WT", 2: "WT TC", 3: "WT TC ET"},
    "men-rt": {1: "GTV"},
    "lgg": {1: "WT"},
    "binary": {1: "foreground"},
}
GLIOMA = [name for name, scheme in LABEL_SCHEMES.items() if {"WT", "TC", "ET"} <= {*scheme.regions}]

every_scheme = pytest.mark.parametrize("scheme", LABEL_SCHEMES.values(), ids=LABEL_SCHEMES)


def label_maps(scheme: LabelScheme) -> st.SearchStrategy[np.ndarray]:
    shape = arrays.array_shapes(min_dims=1, max_dims=3, max_side=4)
    return arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, *scheme.labels]))


def test_more_regions_than_bits_of_a_byte_are_refused():
    labels = {value: f"tissue {value}" for value in range(1, 10)}

    with pytest.raises(ConfigError, match="has 9 regions, but at most 8 are"):
        LabelScheme("many", labels, {name: (value,) for value, name in labels.items()})


def test_every_shipped_scheme_is_in_the_table_of_this_test():
    assert set(LABEL_SCHEMES) == set(CONVENTIONS)
    assert all(name == scheme.name for name, scheme in LABEL_SCHEMES.items())


@pytest.mark.parametrize(
    ("name", "value", "regions"),
    [(name, v, regions) for name, table in CONVENTIONS.items() for v, regions in table.items()],
)
def test_each_value_lies_in_the_regions_of_its_convention(name, value, regions):
    masks = get_scheme(name).masks(np.array([value]))

    assert {region for region, mask in masks.items() if mask.all()} == set(regions.split())


@every_scheme
def test_the_table_covers_every_label_and_background_lies_in_no_region(scheme):
    assert set(scheme.labels) == set(CONVENTIONS[scheme.name])
    assert not any(mask.any() for mask in scheme.masks(np.array([0])).values())


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("brats2021", {1: "NCR", 2: "ED", 4: "ET"}),
        ("brats2023", {1: "NCR", 2: "ED", 3: "ET"}),
        ("msd", {1: "ED", 2: "NET", 3: "ET"}),
        ("brats2024-gli", {1: "NETC", 2: "SNFH", 3: "ET", 4: "RC"}),
        ("brats2024-ped", {1: "ET", 2: "NET", 3: "CC", 4: "ED"}),
        ("brats2015", {1: "NCR", 2: "ED", 3: "NET", 4: "ET"}),
    ],
)
def test_labels_bear_the_names_of_their_convention(name, names):
    assert dict(get_scheme(name).labels) == names


def test_regions_nest():
    label_map = np.array([0, 1, 2, 3])

    masks = get_scheme("brats2023").masks(label_map)

    assert masks["WT"].tolist() == [False, True, True, True]
    assert masks["TC"].tolist() == [False, True, False, True]
    assert masks["ET"].tolist() == [False, False, False, True]


@given(data=st.data(), name=st.sampled_from(GLIOMA))
def test_whole_tumour_contains_core_contains_enhancing(data, name):
    scheme = get_scheme(name)

    masks = scheme.masks(data.draw(label_maps(scheme)))

    assert not (masks["TC"] & ~masks["WT"]).any()
    assert not (masks["ET"] & ~masks["TC"]).any()


@given(data=st.data(), name=st.sampled_from(list(LABEL_SCHEMES)))
def test_masks_of_a_label_map_give_the_label_map_back(data, name):
    scheme = get_scheme(name)
    label_map = data.draw(label_maps(scheme))

    result = scheme.label_map(scheme.masks(label_map))

    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, label_map)


@given(data=st.data(), name=st.sampled_from(list(LABEL_SCHEMES)))
def test_a_label_map_of_masks_gives_the_masks_back(data, name):
    scheme = get_scheme(name)
    mask = arrays.arrays(bool, (6,))
    # Any masks, made such as a label map can hold.
    held = scheme.masks(scheme.label_map({region: data.draw(mask) for region in scheme.regions}))

    result = scheme.masks(scheme.label_map(held))

    assert list(result) == list(scheme.regions)
    for region in held:
        np.testing.assert_array_equal(result[region], held[region])


@given(data=st.data(), name=st.sampled_from(list(LABEL_SCHEMES)))
def test_any_masks_give_only_values_of_the_scheme_and_nested_regions(data, name):
    scheme = get_scheme(name)
    mask = arrays.arrays(bool, (6,))
    masks = {region: data.draw(mask) for region in scheme.regions}

    result = scheme.label_map(masks)

    scheme.check(np.unique(result))
    for region, decoded in scheme.masks(result).items():
        parent = scheme.parent(region)
        assert parent is None or not (decoded & ~masks[parent]).any()


def test_a_region_counts_only_inside_the_one_around_it():
    scheme = get_scheme("brats2021")
    masks = {
        "WT": np.array([True, True, True, False, True]),
        "TC": np.array([True, True, False, True, False]),
        "ET": np.array([True, False, True, True, False]),
    }

    assert scheme.label_map(masks).tolist() == [4, 1, 2, 0, 2]


def test_resection_cavity_is_no_part_of_the_tumour():
    scheme = get_scheme("brats2024-gli")
    masks = {name: np.array([name == "RC", False]) for name in scheme.regions}

    assert scheme.label_map(masks).tolist() == [4, 0]
    assert scheme.parent("RC") is None


@given(data=st.data(), name=st.sampled_from(list(LABEL_SCHEMES)), order=st.sampled_from("CF"))
def test_masks_hold_the_voxels_of_the_labels_of_their_region(data, name, order):
    scheme = get_scheme(name)
    label_map = np.asarray(data.draw(label_maps(scheme)), order=order)

    masks = scheme.masks(label_map)

    for region, values in scheme.regions.items():
        np.testing.assert_array_equal(masks[region], np.isin(label_map, values))


def test_masks_of_a_real_label_map_hold_the_voxels_of_their_labels(real_data):
    path = real_data / "brats2021" / "BraTS2021_01479" / "BraTS2021_01479_seg.nii.gz"
    label_map = np.asarray(nib.load(path).dataobj)

    masks = get_scheme("brats2021").masks(label_map)

    for region, values in {"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)}.items():
        assert masks[region].sum() > 1000
        np.testing.assert_array_equal(masks[region], np.isin(label_map, values))


def test_a_single_label_has_masks_too():
    masks = get_scheme("brats2021").masks(np.array(1))

    assert {region: bool(mask) for region, mask in masks.items()} == {
        "WT": True,
        "TC": True,
        "ET": False,
    }


def test_masks_have_the_shape_of_the_label_map():
    masks = get_scheme("brats2023").masks(np.zeros((2, 3, 4), dtype=np.int16))

    assert list(masks) == ["WT", "TC", "ET"]
    assert {(mask.shape, mask.dtype) for mask in masks.values()} == {((2, 3, 4), np.dtype(bool))}


@pytest.mark.parametrize(
    ("region", "parent"), [("WT", None), ("TC", "WT"), ("ET", "TC"), ("CC", "TC")]
)
def test_parent_is_the_smallest_region_around(region, parent):
    assert get_scheme("brats2024-ped").parent(region) == parent


def test_a_label_map_needs_the_mask_of_every_region():
    with pytest.raises(LabelError, match=r"needs the regions .*'RC'\], but \['RC'\] are not among"):
        get_scheme("brats2024-gli").label_map(
            {name: np.ones(1, bool) for name in ("WT", "TC", "ET")}
        )


def test_check_accepts_the_values_of_the_scheme_and_background():
    get_scheme("brats2021").check(np.array([0, 1, 2, 4]))


def test_check_names_the_place_the_values_and_the_schemes_that_fit():
    with pytest.raises(LabelError) as caught:
        get_scheme("brats2023").check([0, 1, 2, 4], "seg.nii.gz of case 7")

    assert str(caught.value) == (
        "seg.nii.gz of case 7 holds [4], but scheme 'brats2023' defines only 0=background, 1=NCR, "
        "2=ED, 3=ET; use labels: brats2021 or brats2024-gli or brats2024-ped or brats2015"
    )


def test_check_reads_an_iterator_once():
    with pytest.raises(LabelError, match="use labels: brats2023 or"):
        get_scheme("brats2021").check(iter([1, 3]))


def test_check_gives_no_false_advice_when_no_scheme_fits():
    with pytest.raises(LabelError, match=r"label map holds \[7, 255\].*; correct the label map$"):
        get_scheme("brats2021").check([255, 7, 1])


def test_schemes_that_fit_are_all_that_define_the_values():
    fitting = ["brats2023", "brats2024-gli", "brats2024-ped", "brats2015", "msd"]
    assert schemes_fitting([0, 3]) == fitting
    assert schemes_fitting(np.array([9])) == []
    assert schemes_fitting([0]) == list(LABEL_SCHEMES)


@pytest.mark.parametrize(("alias", "name"), SCHEME_ALIASES.items())
def test_an_alias_gives_its_scheme(alias, name):
    assert get_scheme(alias) is LABEL_SCHEMES[name]


@pytest.mark.parametrize("year", range(2017, 2023))
def test_enhancing_tumour_is_4_from_2017_to_2022(year):
    assert get_scheme(f"brats{year}").regions["ET"] == (4,)


def test_an_unknown_scheme_lists_those_there_are():
    with pytest.raises(
        ConfigError, match=r"unknown label scheme 'brats1999'; use one of brats2021"
    ):
        get_scheme("brats1999")


def test_a_custom_scheme_derives_the_label_of_each_region():
    scheme = LabelScheme("liver", {3: "liver", 8: "lesion"}, {"liver": (3, 8), "lesion": (8,)})
    masks = {"liver": np.array([True, True, False]), "lesion": np.array([False, True, True])}

    assert scheme.label_map(masks).tolist() == [3, 8, 0]


def test_the_order_of_the_regions_changes_only_the_order_of_the_masks():
    scheme = LabelScheme("own", {1: "a", 2: "b", 3: "c"}, {"C": (3,), "B": (2, 3), "A": (1, 2, 3)})
    masks = {"A": np.array([True, True, True, False]), "B": np.array([False, True, True, True])}
    masks["C"] = np.array([False, False, True, True])

    assert scheme.label_map(masks).tolist() == [1, 2, 3, 0]
    assert [scheme.parent(region) for region in "ABC"] == [None, "A", "B"]
    found = {region: mask.tolist() for region, mask in scheme.masks(np.array([3, 2])).items()}
    assert list(found.items()) == [("C", [True, False]), ("B", [True] * 2), ("A", [True] * 2)]


def test_parent_is_the_smallest_region_around_even_if_named_last():
    regions = {"A": (1, 2, 3), "C": (3,), "B": (2, 3)}

    assert LabelScheme("own", {1: "a", 2: "b", 3: "c"}, regions).parent("C") == "B"


@pytest.mark.parametrize(
    ("labels", "regions", "message"),
    [
        ({0: "air"}, {"A": (0,)}, r"'own' defines label 0; labels are 1 to 255"),
        ({256: "x"}, {"A": (256,)}, r"defines label 256"),
        ({1: "x"}, {"A": (1, 2)}, r"region 'A' .* holds \[2\], but the scheme defines \[1\]; name"),
        ({1: "x"}, {"A": ()}, r"region 'A' .* holds nothing"),
        ({1: "x", 2: "y"}, {"A": (1, 2)}, r"holds \[1, 2\] outside its inner regions"),
        ({1: "x", 2: "y"}, {"A": (1, 2), "B": (1,), "C": (2,)}, r"'A' .* holds \[\] outside"),
        ({1: "x"}, {}, r"'own' has no regions; name at least one"),
    ],
)
def test_a_scheme_that_cannot_be_written_back_is_refused(labels, regions, message):
    with pytest.raises(ConfigError, match=message):
        LabelScheme("own", labels, regions)


@every_scheme
def test_a_scheme_survives_pickling_and_copying(scheme):
    assert pickle.loads(pickle.dumps(scheme)) == scheme
    assert copy.deepcopy(scheme) == scheme


def test_a_scheme_cannot_be_changed():
    scheme = get_scheme("brats2021")

    with pytest.raises(TypeError):
        scheme.labels[5] = "x"
    with pytest.raises(TypeError):
        scheme.regions["WT"] = (1,)


def test_changing_the_mappings_a_scheme_was_made_from_changes_nothing():
    labels = {1: "x"}
    scheme = LabelScheme("own", labels, {"A": [1]})

    labels[2] = "y"

    assert dict(scheme.labels) == {1: "x"}
    assert scheme.regions["A"] == (1,)


def test_schemes_with_regions_in_another_order_are_not_equal():
    """The channels of a model's output have that order."""
    scheme = get_scheme("brats2023")
    turned = LabelScheme(scheme.name, scheme.labels, dict(reversed(list(scheme.regions.items()))))

    assert scheme == LabelScheme(scheme.name, dict(scheme.labels), dict(scheme.regions))
    assert len({scheme, LabelScheme(scheme.name, scheme.labels, scheme.regions)}) == 1
    assert scheme != turned
    assert scheme != scheme.name
