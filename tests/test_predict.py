"""What `Predictor.predict` takes, what it refuses, and what its prediction says and writes."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage
from PIL import Image
from tiny_models import OF_SLICES, write_model
from tiny_scans import PATIENTS, SUFFIXES, oblique, write_case, write_images

from volseg.errors import (
    ConfigError,
    DataListError,
    GeometryError,
    ImageError,
    OutputError,
    ResourceError,
)
from volseg.inference.options import InferOptions
from volseg.inference.predictor import Predictor

CHANNELS = list(SUFFIXES)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory, folder):
    """Half of the brain is tumour, so that no label map is empty or full."""
    path = write_model(tmp_path_factory.mktemp("m") / "m.safetensors", scores={"dice/WT": 0.9})
    values = Predictor(path, device="cpu").predict(folder).probabilities["WT"]
    return Predictor(path, device="cpu", threshold=float(np.median(values[values > 0])))


@pytest.fixture(scope="module")
def one_channel(tmp_path_factory):
    data = {"data_list": "l", "channels": ["t2f"], "patch_size": [16] * 3}
    path = write_model(tmp_path_factory.mktemp("m") / "m.safetensors", data=data)
    return Predictor(path, device="cpu")


@pytest.fixture(scope="module")
def of_slices(tmp_path_factory):
    path = write_model(tmp_path_factory.mktemp("m") / "m.safetensors", **OF_SLICES)
    return Predictor(path, device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_case(tmp_path_factory.mktemp("scans"), affine=oblique())


def files_of(folder):
    return {name: folder / f"{folder.name}_{suffix}.nii.gz" for name, suffix in SUFFIXES.items()}


def stacked(images):
    return np.stack([np.asanyarray(image.dataobj) for image in images.values()])


WAYS = {
    "a folder": lambda files, images: (next(iter(files.values())).parent, {}),
    "a list of files": lambda files, images: (list(files.values())[::-1], {}),
    "files by channel": lambda files, images: (files, {}),
    "nibabel images by channel": lambda files, images: (images, {}),
    "a nibabel image (I, J, K, C)": lambda files, images: (
        nib.Nifti1Image(np.moveaxis(stacked(images), 0, -1), images["t1n"].affine),
        {},
    ),
    "an array (C, I, J, K)": lambda files, images: (
        stacked(images), {"affine": images["t1n"].affine}
    ),
    "arrays by channel": lambda files, images: (
        dict(zip(images, stacked(images), strict=True)), {"affine": images["t1n"].affine}
    ),
    "a tensor (C, I, J, K)": lambda files, images: (
        torch.from_numpy(stacked(images)), {"affine": images["t1n"].affine}
    ),
    "a MetaTensor (C, I, J, K)": lambda files, images: (
        MetaTensor(torch.from_numpy(stacked(images)), affine=images["t1n"].affine), {}
    ),
    "what MONAI loads": lambda files, images: (
        LoadImage(image_only=True, ensure_channel_first=True)(list(files.values())), {}
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_case_has_one_result_however_it_is_given(predictor, folder, way):
    files = files_of(folder)
    images = {name: nib.load(path) for name, path in files.items()}
    expected = predictor.predict(files)
    given, options = WAYS[way](files, images)

    found = predictor.predict(given, **options)

    assert np.array_equal(found.label_map, expected.label_map)
    assert found.volumes_ml == expected.volumes_ml
    np.testing.assert_allclose(found.grid.affine, images["t1n"].affine, atol=1e-5)
    assert found.label_map.any()


def test_a_result_in_memory_is_the_file_that_is_saved(predictor, folder, tmp_path):
    prediction = predictor.predict(nib_images(folder))

    prediction.save(tmp_path / "result.nii.gz")

    saved, image = nib.load(tmp_path / "result.nii.gz"), prediction.as_nifti()
    assert np.array_equal(np.asarray(saved.dataobj), np.asarray(image.dataobj))
    assert np.array_equal(saved.affine, image.affine)
    assert np.array_equal(image.affine, nib.load(files_of(folder)["t1n"]).affine)
    assert saved.header.binaryblock == image.header.binaryblock


def nib_images(folder):
    return {name: nib.load(path) for name, path in files_of(folder).items()}


def test_what_an_image_without_names_is_taken_for_is_said(predictor, folder):
    images = nib_images(folder)

    unnamed = predictor.predict(stacked(images), affine=images["t1n"].affine, case_id="P7")
    plain = MetaTensor(torch.from_numpy(stacked(images)))

    assert unnamed.case_id == "P7"
    assert "channels taken as t1n t1c t2w t2f, in the order of the model" in unnamed.notes
    assert any("affine is the identity" in note for note in predictor.predict(plain).notes)
    assert predictor.predict(images).case_id == f"{folder.name}_t1"


def test_an_affine_in_lps_is_turned(predictor, folder):
    images = nib_images(folder)
    lps = np.diag([-1.0, -1, 1, 1]) @ images["t1n"].affine
    tensor = MetaTensor(torch.from_numpy(stacked(images)), affine=lps, meta={"space": "LPS"})

    found = predictor.predict(tensor)

    np.testing.assert_allclose(found.grid.affine, images["t1n"].affine, atol=1e-5)


def test_half_precision_and_booleans_are_numbers(one_channel, folder):
    values = np.asarray(nib.load(files_of(folder)["t2f"]).dataobj).astype(np.float32)
    affine = np.eye(4)

    half = one_channel.predict(torch.from_numpy(values)[None].bfloat16(), affine=affine)
    masks = one_channel.predict({"flair": values > 0}, affine=affine)

    assert half.label_map.shape == masks.label_map.shape == values.shape


IMAGE = np.random.default_rng(0).integers(1, 9, (4, 8, 8, 8)).astype(np.int16)


@pytest.mark.parametrize(
    ("images", "options", "error", "message"),
    [
        (IMAGE, {}, GeometryError, r"the grid of .* is not known, .*; give affine, a matrix"),
        (IMAGE, {"affine": np.eye(3)}, GeometryError, "but three axes that span a volume"),
        (IMAGE, {"affine": np.zeros((4, 4))}, GeometryError, "but three axes that span a volume"),
        (IMAGE, {"affine": np.diag([1.0, 1, 0, 1])}, GeometryError, "but three axes that span a"),
        (IMAGE, {"affine": np.diag([90.0, 1, 1, 1])}, ImageError, "but 0.05 to 20 mm are expected"),
        (IMAGE[:3], {"affine": np.eye(4)}, DataListError, r"shape \(3, 8, 8, 8\), but \(C, I, J"),
        (IMAGE[0], {"affine": np.eye(4)}, DataListError, r"shape \(8, 8, 8\), but \(C, I, J, K\)"),
        ({"t1n": IMAGE[0]}, {"affine": np.eye(4)}, DataListError, "the model needs channels t1n"),
        (dict(zip(CHANNELS, IMAGE[:, 0], strict=True)), {"affine": np.eye(4)}, ImageError,
         r"t1n has shape \(8, 8\), but \(I, J, K\) is expected"),
        (dict.fromkeys(["t1", "t1n"], IMAGE[0]), {"affine": np.eye(4)}, DataListError,
         "t1 t1n are only the channels t1n; give each channel once"),
        ({"t1n": IMAGE[0], "t1c": "t1c.nii.gz"}, {"affine": np.eye(4)}, DataListError,
         "some are paths and some are images in memory"),
        (np.full_like(IMAGE, 3), {"affine": np.eye(4)}, ImageError, "is constant, 3 in every"),
        (IMAGE * np.float32("nan"), {"affine": np.eye(4)}, ImageError, "NaN or infinite"),
        (IMAGE.astype(complex), {"affine": np.eye(4)}, ImageError, "but numbers are expected"),
        (MetaTensor(torch.from_numpy(IMAGE)), {"affine": np.eye(4)}, GeometryError,
         "the image has an affine, but another is given; leave it out"),
        ("somewhere", {"affine": np.eye(4)}, GeometryError, "files have an affine"),
        ([], {}, DataListError, "no image is given"),
    ],
)  # fmt: skip
def test_an_image_that_leaves_something_open_is_refused(predictor, images, options, error, message):
    with pytest.raises(error, match=message):
        predictor.predict(images, **options)


def test_images_on_two_grids_are_refused(predictor, folder):
    images = nib_images(folder)
    moved = images["t2f"].affine + np.diag([0, 0, 0, 0])
    moved[0, 3] += 5
    images["t2f"] = nib.Nifti1Image(np.asarray(images["t2f"].dataobj), moved)

    with pytest.raises(GeometryError, match="t2f lies 5 mm away from t1n"):
        predictor.predict(images)


# Files one by one


def test_a_single_file_is_enough_for_a_model_of_one_channel(one_channel, folder, tmp_path, caplog):
    flair = files_of(folder)["t2f"]
    unnamed = tmp_path / "scan.nii.gz"
    unnamed.write_bytes(flair.read_bytes())

    expected = one_channel.predict({"t2f": flair})

    for path, name in ((flair, folder.name), (unnamed, "scan")):
        found = one_channel.predict(path)
        assert found.case_id == name
        assert np.array_equal(found.label_map, expected.label_map)
    assert f"{unnamed} is taken for t2f, the channel that the model needs" in caplog.messages


def test_a_file_of_another_channel_is_refused(one_channel, folder):
    with pytest.raises(DataListError, match=r"needs channels t2f, but case .* has t1c"):
        one_channel.predict(files_of(folder)["t1c"])


def test_files_that_say_too_little_are_refused(predictor, folder, tmp_path):
    files = files_of(folder)
    label = tmp_path / "P7_seg.nii.gz"
    label.write_bytes(files["t2f"].read_bytes())
    unnamed = tmp_path / "scan.nii.gz"
    unnamed.write_bytes(files["t2f"].read_bytes())
    four = tmp_path / "four.nii.gz"
    images = nib_images(folder)
    nib.save(nib.Nifti1Image(np.moveaxis(stacked(images), 0, -1), images["t1n"].affine), four)

    for given, message in (
        (files["t1n"], "needs channels t1n t1c t2w t2f, but case .* has t1n; add t1c t2w t2f"),
        (unnamed, "is one image, but the model needs channels t1n t1c t2w t2f; give the folder"),
        (label, "is a label map by its name; give the images"),
        (four, r"holds 4 volumes, but no file names .*; .* --image t1n,t1c,t2w,t2f=FILE"),
        ([files["t1n"], unnamed], "scan.nii.gz holds no channel; name the channel of each"),
        ([files["t1n"], files["t1n"]], "of the channels t1n t1n are given; give one file for each"),
        ([files["t1n"], tmp_path / "a.txt"], "a.txt is no image by its name"),
    ):
        with pytest.raises(DataListError, match=message):
            predictor.predict(given)


def test_a_4d_file_is_read_in_the_order_that_is_named(predictor, folder, tmp_path):
    images = nib_images(folder)
    backwards = dict(reversed(images.items()))
    path = tmp_path / "P7.nii.gz"
    nib.save(nib.Nifti1Image(np.moveaxis(stacked(backwards), 0, -1), images["t1n"].affine), path)

    found = predictor.predict({"t2f,t2w,t1c,t1n": path})

    assert found.case_id == "P7"
    assert np.array_equal(found.label_map, predictor.predict(folder).label_map)


def test_slices_in_order_are_one_case(of_slices, tmp_path):
    names = [f"{PATIENTS[0]}_{n}.tif" for n in (1, 2, 10)]
    write_images(tmp_path / "lgg", names)
    write_images(tmp_path / "odd", ["b.png", "a.png"])

    known = of_slices.predict([tmp_path / "lgg" / name for name in reversed(names)])
    ordered = of_slices.predict([tmp_path / "odd" / "b.png", tmp_path / "odd" / "a.png"])
    single = of_slices.predict(tmp_path / "odd" / "b.png")

    assert (known.case_id, [path.name for path in known.slices]) == (PATIENTS[0], names)
    assert (ordered.case_id, [path.name for path in ordered.slices]) == ("odd", ["b.png", "a.png"])
    assert (single.case_id, single.label_map.shape) == ("b", (18, 14, 1))


def test_the_size_of_a_voxel_of_slices_may_be_said(of_slices, tmp_path):
    write_images(tmp_path / "p1", ["p1_1.png", "p1_2.png"])

    (case,) = of_slices.find(tmp_path / "p1", InferOptions(spacing_mm=(1, 1, 5))).cases

    assert case.spacing_mm == (1, 1, 5)
    assert of_slices.predict(case).volumes_ml.keys() == {"WT"}
    with pytest.raises(ConfigError, match=r"three sizes of 0\.05 to 20 mm are expected"):
        of_slices.find(tmp_path / "p1", InferOptions(spacing_mm=(1, 1)))


def test_the_size_of_a_voxel_of_volumes_is_in_their_header(predictor, folder):
    with pytest.raises(ConfigError, match=r"the size of \w+ is in its header; leave it out"):
        predictor.find(folder, InferOptions(spacing_mm=(1, 1, 5)))


# What a prediction says and writes


def test_a_prediction_says_what_it_is(predictor, folder):
    prediction = predictor.predict(folder)
    volumes = ", ".join(f"{name} {ml:.2f} ml" for name, ml in prediction.volumes_ml.items())

    assert str(prediction).splitlines() == [
        f"{folder.name}: 20 x 22 x 18 voxels of 1 x 1 x 1 mm, LPS",
        f"  {volumes}",
        f"  Note: {prediction.notes[0]}",
        "For research only, not for clinical use.",
    ]
    assert repr(prediction) == f"<Prediction of {folder.name}: {volumes}>"


def test_a_prediction_says_what_is_not_found_and_what_speaks_against_it(folder, tmp_path):
    model = write_model(tmp_path / "m.safetensors")

    said = str(Predictor(model, device="cpu", threshold=0.999999).predict(folder))

    assert "WT not found, TC not found, ET not found" in said
    assert f"Doubt: {model} was not validated" in said


def test_without_the_size_of_a_voxel_no_volume_is_said(of_slices, tmp_path):
    write_images(tmp_path / "p1", ["p1_1.png"])

    lines = str(of_slices.predict(tmp_path / "p1")).splitlines()

    assert lines[0] == "p1: 18 x 14 x 1 voxels of unknown size"
    assert lines[1] in ("  WT found", "  WT not found")


def test_nothing_is_replaced_unasked_and_no_image_ever(predictor, folder, tmp_path):
    prediction, path = predictor.predict(folder), tmp_path / "a.nii.gz"
    prediction.save(path)
    scan = files_of(folder)["t1n"]
    before = scan.read_bytes()

    with pytest.raises(OutputError, match=r"a\.nii\.gz is there already; give another path, or ov"):
        prediction.save(path)
    prediction.save(path, overwrite=True)
    with pytest.raises(OutputError, match="is an input and would be replaced"):
        prediction.save(scan, overwrite=True)
    with pytest.raises(OutputError, match=r"a\.png is no name of a NIfTI file"):
        prediction.save(tmp_path / "a.png")
    prediction.save_probabilities(tmp_path)
    with pytest.raises(OutputError, match=r"_WT\.nii\.gz is there already"):
        prediction.save_probabilities(tmp_path)

    assert scan.read_bytes() == before


def test_masks_of_slices_are_not_replaced_unasked(of_slices, tmp_path):
    write_images(tmp_path / "p1", ["p1_1.png", "p1_2.png"])
    prediction = of_slices.predict(tmp_path / "p1")
    write_images(tmp_path / "drawn", ["p1_1.png", "p1_2.png"])

    with pytest.raises(OutputError, match=r"drawn/p1_1\.png is there already"):
        prediction.save_slices(tmp_path / "drawn")
    with pytest.raises(OutputError, match="is an input and would be replaced"):
        prediction.save_slices(tmp_path / "p1", overwrite=True)

    with Image.open(tmp_path / "drawn" / "p1_1.png") as drawn:
        assert drawn.mode == "RGB"


@pytest.mark.parametrize(
    ("name", "why"),
    [(".x", "begins with a dot"), ("x\u200b", "holds control or invisible characters")],
)
def test_files_that_give_a_case_an_unfit_name_are_refused(
    predictor, of_slices, tmp_path, name, why
):
    """Results are named after the case, and would be hidden or look like others."""
    volumes = {channel: tmp_path / name / f"{channel}.nii.gz" for channel in SUFFIXES}
    slices = [tmp_path / name / image for image in ("b.png", "a.png")]
    write_images(tmp_path / name, ["b.png", "a.png", f"{name}.png"])

    for given, find in (
        (volumes, predictor.find),
        ({"t1n,t1c,t2w,t2f": tmp_path / f"{name}.nii.gz"}, predictor.find),
        (slices, of_slices.find),
        (tmp_path / name / f"{name}.png", of_slices.find),
    ):
        with pytest.raises(DataListError, match=f"this name {why}; rename the files or their"):
            find(given)


def test_files_at_the_root_of_a_file_system_name_no_case(predictor):
    given = {channel: f"/{channel}.nii.gz" for channel in SUFFIXES}

    with pytest.raises(DataListError, match="is named '' by its files, but this name is empty"):
        predictor.find(given)


def test_an_error_of_images_in_memory_reads_well_without_a_name(predictor, folder, monkeypatch):
    images = nib_images(folder)
    prepared = predictor.prepare(stacked(images), affine=images["t1n"].affine)
    monkeypatch.setattr("volseg.memory.available", lambda: 0)

    with pytest.raises(ResourceError, match=r"^case unnamed: probabilities of 3 regions of 20 x"):
        predictor.probabilities(prepared)
