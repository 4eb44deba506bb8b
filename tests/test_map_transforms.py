import logging

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    EnsureTyped,
    Invertd,
    LoadImaged,
    RandFlipd,
)
from tiny_scans import SUFFIXES, WHOLE, oblique, write_case, write_images

from volseg.config import CHANNELS, PreprocessingConfig
from volseg.errors import DataListError, GeometryError, ImageError, SchemeError
from volseg.finding.folders import find_scans
from volseg.labels import get_scheme
from volseg.transforms import preprocess, preprocess_masks, to_original
from volseg.transforms.map_transforms import LoadCased, PreprocessCased

BOTH = ["image", "label"]
AS_IT_IS = PreprocessingConfig(spacing_mm=(1.0, 1.0, 1.0))
COARSE = PreprocessingConfig(spacing_mm=(1.6, 1.6, 1.6))
both_spacings = pytest.mark.parametrize("config", [AS_IT_IS, COARSE], ids=["1 mm", "1.6 mm"])


@pytest.fixture
def folder(tmp_path):
    """An oblique case, stored to the left, back and top, with its label map."""
    folder = write_case(tmp_path, affine=oblique())
    image = nib.load(folder / "BraTS2021_00001_t1.nii.gz")
    upright = np.zeros((20, 22, 18), np.uint8)
    upright[WHOLE] = 2
    upright[WHOLE][1:3] = 4
    label_map = nib.Nifti1Image(upright[::-1, ::-1], image.affine, image.header)
    label_map.set_data_dtype(np.uint8)
    nib.save(label_map, folder / "BraTS2021_00001_seg.nii.gz")
    return folder


@pytest.fixture
def case(folder):
    return find_scans(folder).cases[0]


def pipeline(config, *others):
    return Compose(
        [
            LoadCased("image", label_keys="label"),
            PreprocessCased("image", config, label_keys="label", labels="brats2021"),
            *others,
        ]
    )


@both_spacings
def test_arrays_and_affine_are_those_of_volseg(case, config):
    found = pipeline(config)({"image": case})

    images = case.read_images(CHANNELS)
    expected = preprocess(images, config, np.float32)
    label_map, grid = case.read_reference()
    masks = np.stack(list(get_scheme("brats2021").masks(label_map).values()))
    assert np.array_equal(found["image"].numpy(), expected.image)
    assert np.array_equal(found["label"].numpy(), preprocess_masks(masks, grid, expected))
    for key in BOTH:
        assert isinstance(found[key], MetaTensor)
        assert np.array_equal(found[key].affine, expected.image_grid.affine)


def test_a_case_is_read_from_its_folder_as_it_is_stored(folder, case):
    found = LoadCased("image", label_keys="label")({"image": str(folder)})

    images, (label_map, _) = case.read_images(CHANNELS), case.read_reference()
    assert found["image"].dtype == torch.int16
    assert np.array_equal(found["image"].numpy(), images.array)
    assert np.array_equal(found["label"].numpy()[0], label_map)
    assert np.array_equal(found["image"].affine, images.grid.affine)
    assert found["image"].meta["filename_or_obj"] == str(folder)


@both_spacings
def test_the_inverse_leads_back_to_the_grid_of_the_scan_to_the_last_bit(case, config):
    steps = pipeline(config)
    prepared = steps({"image": case})
    expected = preprocess(case.read_images(CHANNELS), config, np.float32)

    found = steps.inverse(prepared)

    back = to_original(torch.from_numpy(expected.image), expected.image_grid, expected.scan_grid)
    assert torch.equal(found["image"].as_tensor(), back)
    for key in BOTH:
        assert np.array_equal(found[key].affine, expected.scan_grid.affine)
        assert found[key].shape[1:] == expected.scan_grid.shape
    assert [step["class"] for step in prepared["image"].applied_operations] == ["PreprocessCased"]
    assert found["image"].applied_operations == []


def test_masks_come_back_as_they_were_where_the_spacing_stays(case):
    steps = pipeline(AS_IT_IS)

    found = steps.inverse(steps({"image": case}))["label"]

    masks = get_scheme("brats2021").masks(case.read_reference()[0])
    assert found.dtype == torch.bool
    for mask, expected in zip(found.numpy(), masks.values(), strict=True):
        np.testing.assert_array_equal(mask, expected)


@both_spacings
def test_a_prediction_comes_back_through_the_transforms_of_monai(case, config):
    """Flipped and flipped back, as a plain pipeline of MONAI would do it."""
    steps = pipeline(
        config, RandFlipd(BOTH, prob=1.0, spatial_axis=0), EnsureTyped(BOTH, dtype=torch.float32)
    )
    sample = steps({"image": case})
    sample["prediction"] = torch.sigmoid(sample["image"][:3])
    plain = preprocess(case.read_images(CHANNELS), config, np.float32)
    assert np.array_equal(sample["image"].numpy()[:, ::-1], plain.image)

    back = Invertd("prediction", steps, orig_keys="image", nearest_interp=False)(sample)

    probabilities = torch.sigmoid(torch.from_numpy(plain.image[:3]))
    expected = to_original(probabilities, plain.image_grid, plain.scan_grid)
    assert torch.equal(back["prediction"].as_tensor(), expected)
    assert np.array_equal(back["prediction"].affine, plain.scan_grid.affine)


@both_spacings
def test_a_label_map_comes_back_with_its_labels_alone(case, config):
    steps = pipeline(config)
    sample = steps({"image": case})
    masks = dict(zip(("WT", "TC", "ET"), sample["label"].numpy(), strict=True))
    sample["prediction"] = MetaTensor(get_scheme("brats2021").label_map(masks)[None])

    back = Invertd("prediction", steps, orig_keys="label")(sample)["prediction"]

    label_map, _ = case.read_reference()
    assert back.dtype == torch.uint8
    assert set(back.unique().tolist()) == {0, 2, 4}
    if config is AS_IT_IS:
        np.testing.assert_array_equal(back.numpy()[0], label_map)


def test_images_that_monai_has_read_are_prepared_as_well(folder, case):
    steps = Compose(
        [
            LoadImaged("image", dtype=np.int16),
            EnsureChannelFirstd("image"),
            PreprocessCased("image", COARSE),
        ]
    )
    files = [folder / f"BraTS2021_00001_{SUFFIXES[channel]}.nii.gz" for channel in CHANNELS]

    found = steps({"image": files})["image"]

    expected = preprocess(case.read_images(CHANNELS), COARSE, np.float32)
    assert np.array_equal(found.numpy(), expected.image)
    assert np.array_equal(found.affine, expected.image_grid.affine)


def test_slices_are_whole_heads(tmp_path):
    write_images(tmp_path / "P7", ["P7_1.png", "P7_2.png"])
    channels = ("t1n", "t1c", "t2f")
    case = find_scans(tmp_path / "P7", channels).cases[0]
    config = PreprocessingConfig(channels=channels, spatial_dims=2)
    steps = Compose([LoadCased("image", channels), PreprocessCased("image", config)])

    found = steps({"image": case})["image"]

    expected = preprocess(case.read_images(channels), config, np.float32)
    assert np.array_equal(found.numpy(), expected.image)
    assert found.meta["notes"] == "; ".join(expected.notes)


def test_prepared_cases_are_collated_into_batches(case):
    sample = pipeline(COARSE)({"image": case})

    batch = list_data_collate([sample, sample])

    assert batch["image"].shape == (2, *sample["image"].shape)
    assert torch.equal(batch["image"][0], sample["image"])


def test_what_is_odd_about_an_image_is_logged_and_kept(folder, case, caplog):
    path = folder / "BraTS2021_00001_t1.nii.gz"
    image = nib.load(path)
    values = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image(np.where(values == 0, -1, values), image.affine, image.header), path)

    with caplog.at_level(logging.WARNING):
        found = pipeline(AS_IT_IS)({"image": case})["image"]

    assert "t1n: background is -1: taken as 0" in caplog.text
    assert "background is -1" in found.meta["notes"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (5, "a int is given, but a case or its folder is expected; take cases from"),
        (".", "holds 2 cases; give each case, or its folder"),
    ],
)
def test_what_is_not_one_case_is_refused(tmp_path, monkeypatch, given, message):
    for number in (1, 2):
        write_case(tmp_path, f"BraTS2021_0000{number}")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DataListError, match=message):
        LoadCased("image")({"image": given})


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("t1.nii.gz", "a str"),
        (torch.zeros(1, 4, 4, 4), "a Tensor of shape"),
        (MetaTensor(torch.zeros(4, 4, 4)), r"a MetaTensor of shape \(4, 4, 4\)"),
    ],
    ids=["a path", "a tensor without an affine", "an image without channels"],
)
def test_what_is_no_image_is_refused(given, found):
    with pytest.raises(ImageError, match=f"image is {found}.*put LoadCased"):
        PreprocessCased("image")({"image": given})


def test_a_label_map_on_another_grid_is_refused(case):
    data = LoadCased("image", label_keys="label")({"image": case})
    data["label"].affine[0, 3] += 1

    with pytest.raises(GeometryError, match="label map lies 1 mm away from image"):
        PreprocessCased("image", label_keys="label", labels="brats2021")(data)


def test_a_label_of_another_scheme_is_refused(case):
    data = LoadCased("image", label_keys="label")({"image": case})

    with pytest.raises(SchemeError, match=r"holds \[4\], but scheme 'brats2023'"):
        PreprocessCased("image", label_keys="label", labels="brats2023")(data)


def test_label_maps_need_their_scheme():
    with pytest.raises(ValueError, match="name it in labels"):
        PreprocessCased("image", label_keys="label")


def test_the_inverse_of_another_shape_is_refused(case):
    prepare = PreprocessCased("image", COARSE)
    sample = prepare(LoadCased("image")({"image": case}))
    sample["image"] = sample["image"][:, 1:]

    with pytest.raises(GeometryError, match="invert first what was applied after PreprocessCased"):
        prepare.inverse(sample)


def test_a_key_that_is_missing_is_missed_unless_it_may_be():
    prepare = PreprocessCased("image", label_keys="label", labels="lgg")

    with pytest.raises(KeyError, match="'image' is missing"):
        prepare.inverse({})
    prepare.allow_missing_keys = True
    assert prepare.inverse({"other": 1}) == {"other": 1}
