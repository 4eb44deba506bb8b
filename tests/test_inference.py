"""Sliding window, mirrored copies, ensembles, and the way back to the grid of the input."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.transforms import (
    Compose,
    CropForegroundd,
    EnsureChannelFirstd,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
)
from PIL import Image
from tiny_models import tiny_config, write_model
from tiny_scans import CORE, ENHANCING, SUFFIXES, WHOLE, oblique, write_case

import volseg
from volseg.cases.slice_stack_case import SliceStackCase
from volseg.cases.volume_case import VolumeCase
from volseg.config import ExperimentConfig, PreprocessingConfig
from volseg.errors import ConfigError, DataListError, LabelError, ModelError, ResourceError
from volseg.images.boxes import bounding_box
from volseg.images.grid import Grid
from volseg.images.slice_masks import read_stack_label_map
from volseg.inference import predictor as inference
from volseg.inference import preparing, windows
from volseg.inference.device import available_device
from volseg.inference.predictor import Predictor
from volseg.inference.windows import segment
from volseg.labels import get_scheme
from volseg.model_file import Model
from volseg.transforms import covered, preprocess, to_original
from volseg.transforms.warping import rotation

MIRRORED = {"inference": {"tta": True}}


class Thresholds(torch.nn.Module):
    """Each region is where one channel is bright: no neighbour matters, so nothing can blur."""

    def forward(self, image):
        return 20 * (image[:, [3, 1, 2]] - 2)


class Ramp(torch.nn.Module):
    """Logits 0 in the first half of the first axis and `high` in the second, whatever the image."""

    def __init__(self, high):
        super().__init__()
        self.high = high

    def forward(self, image):
        logits = torch.zeros_like(image[:, :3])
        logits[:, :, image.shape[2] // 2 :] = self.high
        return logits


def in_ras(path):
    return np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj)


def expected_label_map():
    label_map = np.zeros((20, 22, 18), np.uint8)
    label_map[WHOLE], label_map[CORE], label_map[ENHANCING] = 2, 1, 4
    return label_map


@pytest.fixture
def thresholds(monkeypatch):
    """Every model file stands for `Thresholds` with this config; call it to choose another."""

    def use(*configs):
        configs = list(configs)

        def load(path):
            config = configs.pop(0) if len(configs) > 1 else configs[0]
            return Model(Thresholds(), config, {}, "0", "0" * 64, path)

        monkeypatch.setattr(inference, "load_model", load)

    use(tiny_config())
    return use


# Segmenting an array


@pytest.mark.parametrize("patch", [(16, 16, 16), (8, 8, 8), (16, 16), (8, 8)])
@pytest.mark.parametrize("shape", [(20, 12, 17), (5, 6, 7)])
def test_a_pointwise_network_sees_every_voxel_in_its_place(patch, shape):
    image = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float16)

    probabilities = segment(Thresholds(), image, tiny_config(patch), device="cpu")

    expected = torch.sigmoid(Thresholds()(torch.from_numpy(image).float()[None]))[0]
    assert probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 8)])
def test_mirrored_copies_change_nothing_for_an_equivariant_network(patch):
    image = torch.randn(4, 10, 12, 9)

    plain = segment(Thresholds(), image, tiny_config(patch), device="cpu")
    mirrored = segment(Thresholds(), image, tiny_config(patch, **MIRRORED), device="cpu")

    torch.testing.assert_close(mirrored, plain, atol=1e-6, rtol=0)


def test_mirrored_copies_average_probabilities_not_logits():
    config = tiny_config(**MIRRORED)

    mirrored = segment(Ramp(100.0), torch.rand(4, 16, 16, 16), config, device="cpu")

    # Each voxel is in the second half in 4 of 8 copies: the mean of 1/2 and 1, not sigmoid(50).
    torch.testing.assert_close(mirrored, torch.full_like(mirrored, 0.75))


@pytest.mark.parametrize(("patch", "passes"), [((16, 16, 16), 8), ((16, 16), 4)])
def test_every_set_of_axes_is_mirrored_once(patch, passes):
    seen = []

    class Counting(Thresholds):
        def forward(self, image):
            seen.append(image.numpy().tobytes())
            return super().forward(image)

    image = torch.rand(4, 16, 16, 16)
    segment(Counting(), image, tiny_config(patch, **MIRRORED), device="cpu")

    assert len(seen) == len(set(seen)) == passes


@pytest.mark.parametrize(("patch", "largest"), [((16, 16, 16), 2), ((80, 80, 80), 1)])
def test_two_small_windows_are_segmented_at_once_on_a_cpu(patch, largest):
    sizes = []

    class Counting(Thresholds):
        def forward(self, image):
            sizes.append(len(image))
            return super().forward(image)

    image = torch.rand(4, patch[0] + 8, 16, 16)
    found = segment(Counting(), image, tiny_config(patch), device="cpu")

    assert max(sizes) == largest
    expected = torch.sigmoid(Thresholds()(image[None]))[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_overlap_and_mirrored_copies_are_those_of_the_config():
    counts = []

    class Counting(Thresholds):
        def forward(self, image):
            counts[-1] += len(image)
            return super().forward(image)

    for options in ({"overlap": 0.0, "tta": True}, {"overlap": 0.0}, {"overlap": 0.5}):
        counts.append(0)
        config = tiny_config((8, 8, 8), inference=options)
        segment(Counting(), torch.rand(4, 16, 16, 16), config, device="cpu")

    assert counts == [8 * 8, 8, 27]


def test_a_read_only_image_is_accepted(tmp_path):
    np.save(tmp_path / "image.npy", np.zeros((4, 8, 8, 8), np.float16))
    image = np.load(tmp_path / "image.npy", mmap_mode="r")

    assert segment(Thresholds(), image, tiny_config(), device="cpu").shape == (3, 8, 8, 8)


def test_a_volume_too_large_for_the_gpu_is_kept_on_the_cpu(monkeypatch, caplog):
    image, real = torch.rand(4, 8, 8, 8), windows.sliding_window_inference
    calls = []

    def short_of_memory(*args, **kwargs):
        calls.append(kwargs["device"])
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*args, **kwargs)

    expected = segment(Thresholds(), image, tiny_config(), device="cpu")
    monkeypatch.setattr(windows, "sliding_window_inference", short_of_memory)
    found = segment(Thresholds(), image, tiny_config(), device="cpu")

    assert torch.equal(found, expected)
    assert len(calls) == 2
    assert "kept on the CPU" in caplog.text


def test_the_way_back_to_the_scan_goes_over_the_cpu_where_the_gpu_is_too_small(monkeypatch):
    grid, real, calls = Grid((4, 4, 4), np.eye(4)), windows.to_original, []

    def short_of_memory(*args):
        calls.append(args)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*args)

    monkeypatch.setattr(windows, "to_original", short_of_memory)
    probabilities = torch.rand(3, 4, 4, 4)

    found = windows.on_scan_grid(probabilities, grid, grid)

    assert torch.equal(found, probabilities)
    assert len(calls) == 2


def test_windows_too_large_for_the_gpu_are_named():
    class Greedy(torch.nn.Module):
        def forward(self, image):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(
        ConfigError,
        match=r"\[16, 16, 16\] voxels.*lower inference.window_batch or inference.window_size",
    ):
        segment(Greedy(), torch.rand(4, 8, 8, 8), tiny_config(), device="cpu")


@pytest.mark.parametrize(
    ("precision", "device", "bf16", "expected"),
    [
        ("auto", "cuda", True, torch.bfloat16),
        ("auto", "cuda", False, torch.float16),
        ("16-mixed", "cuda", True, torch.float16),
        ("bf16-mixed", "cuda", False, torch.bfloat16),
        ("32", "cuda", True, None),
        ("auto", "cpu", True, None),
        ("16-mixed", "cpu", True, None),
    ],
)
def test_mixed_precision_only_on_a_gpu_and_only_if_asked(
    monkeypatch, precision, device, bf16, expected
):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: bf16)

    assert windows.mixed_dtype(precision, device) == expected


# From files to files


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "RAI", "ASL", "PIR"])
@pytest.mark.parametrize("affine", [None, oblique()], ids=["straight", "oblique"])
def test_a_result_lies_on_the_grid_of_its_input(tmp_path, thresholds, orientation, affine):
    case = write_case(tmp_path, orientation=orientation, affine=affine)
    source = nib.load(case / "BraTS2021_00001_t1.nii.gz")

    Predictor("model", device="cpu").predict(case).save(tmp_path / "result.nii.gz")

    result = nib.load(tmp_path / "result.nii.gz")
    assert result.get_data_dtype() == np.uint8
    assert result.shape == source.shape
    assert np.array_equal(result.affine, source.affine)
    for matrix in ("get_qform", "get_sform"):
        found, expected = (getattr(image, matrix)(coded=True) for image in (result, source))
        assert np.array_equal(found[0], expected[0])
        assert found[1] == expected[1]
    assert result.header.get_zooms() == source.header.get_zooms()
    assert result.header.get_xyzt_units() == source.header.get_xyzt_units()
    assert np.array_equal(in_ras(tmp_path / "result.nii.gz"), expected_label_map())


def test_regions_have_volumes_and_probabilities(tmp_path, thresholds):
    prediction = Predictor("model", device="cpu").predict(write_case(tmp_path))

    assert prediction.case_id == "BraTS2021_00001"
    # Voxels of 1 mm3: 6 x 7 x 5, 4 x 4 x 3 and 2 x 2 x 2 of them.
    assert prediction.volumes_ml == pytest.approx({"WT": 0.210, "TC": 0.048, "ET": 0.008})
    assert list(prediction.probabilities) == ["WT", "TC", "ET"]
    for region, values in prediction.probabilities.items():
        assert values.dtype == np.float32
        assert values.shape == (20, 22, 18)
        assert (values >= 0.5).sum() == round(prediction.volumes_ml[region] * 1000)


def test_probabilities_that_do_not_fit_into_memory_are_not_asked_for(
    tmp_path, thresholds, monkeypatch
):
    """The image, sums and a count: 4 + 3 + 1 maps; of the box the mean and one model: 2 x 3."""
    predictor, case = Predictor("m", device="cpu"), write_case(tmp_path)
    prepared = predictor.prepare(case)
    (image,) = (found.image for found in prepared.images.values())
    box = predictor.probabilities(prepared).probabilities[0].size
    needed = 4 * ((4 + 3 + 1) * image[0].size + 2 * 3 * box)

    monkeypatch.setattr("volseg.memory.available", lambda: needed - 1)
    with pytest.raises(
        ResourceError, match=r"^case BraTS2021_00001: probabilities of 3 regions of 20 x 22 x 18"
    ):
        predictor.probabilities(prepared)
    monkeypatch.setattr("volseg.memory.available", lambda: needed)
    assert predictor.probabilities(prepared).probabilities.shape[0] == 3


def test_a_result_says_which_regions_it_holds(tmp_path, thresholds):
    case = write_case(tmp_path)

    assert Predictor("m", device="cpu").predict(case).found == {"WT", "TC", "ET"}
    thresholds(tiny_config(inference={"min_component_mm3": {"ET": 1e6}}))
    assert Predictor("m", device="cpu").predict(case).found == {"WT", "TC"}


def test_probabilities_are_written_a_file_a_region(tmp_path, thresholds):
    prediction = Predictor("model", device="cpu").predict(write_case(tmp_path))

    paths = prediction.save_probabilities(tmp_path)

    assert [path.name for path in paths] == [
        f"BraTS2021_00001_{region}.nii.gz" for region in ("WT", "TC", "ET")
    ]
    image = nib.load(paths[1])
    assert image.get_data_dtype() == np.float32
    assert np.array_equal(np.asarray(image.dataobj), prediction.probabilities["TC"])


def test_a_network_of_slices_gives_the_same_label_map(tmp_path, thresholds):
    case = write_case(tmp_path)
    volumes = Predictor("model", device="cpu").predict(case)

    thresholds(tiny_config((16, 16)))
    slices = Predictor("model", device="cpu", tta=True).predict(case)

    assert np.array_equal(slices.label_map, volumes.label_map)


def test_a_model_at_another_spacing_finds_the_same_place(tmp_path, thresholds):
    thresholds(tiny_config(data={"data_list": "l", "patch_size": [8] * 3, "spacing_mm": [2] * 3}))

    prediction = Predictor("model", device="cpu").predict(write_case(tmp_path, orientation="RAS"))

    found, expected = prediction.label_map > 0, expected_label_map() > 0
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.75


def test_small_components_are_removed_by_the_config(tmp_path, thresholds):
    # The enhancing box holds 8 mm3.
    for minimum, volume_ml in ((8, 0.008), (8.5, 0.0)):
        thresholds(tiny_config(inference={"min_component_mm3": {"ET": minimum}}))
        prediction = Predictor("model", device="cpu").predict(write_case(tmp_path / str(minimum)))
        assert prediction.volumes_ml["ET"] == pytest.approx(volume_ml)
        assert (4 in prediction.label_map) == (volume_ml > 0)


def test_channels_may_be_given_by_name_in_any_order(tmp_path, thresholds):
    case = write_case(tmp_path)
    images = {name: case / f"{case.name}_{suffix}.nii.gz" for name, suffix in SUFFIXES.items()}

    backwards = Predictor("model", device="cpu").predict(dict(reversed(images.items())))

    expected = Predictor("model", device="cpu").predict(case)
    assert backwards.case_id == case.name
    assert np.array_equal(backwards.label_map, expected.label_map)


def test_channels_may_be_given_by_their_older_names(tmp_path, thresholds):
    case = write_case(tmp_path)
    images = {suffix: case / f"{case.name}_{suffix}.nii.gz" for suffix in SUFFIXES.values()}
    predictor = Predictor("model", device="cpu")

    found = predictor.predict(images)

    assert np.array_equal(found.label_map, predictor.predict(case).label_map)
    with pytest.raises(
        DataListError, match="t1 t1n are the channels t1n t1n; give each channel once"
    ):
        predictor.predict({"t1": images["t1"], "t1n": images["t1"]})


def test_one_file_for_two_channels_is_refused(tmp_path, thresholds):
    folder = write_case(tmp_path)
    files = {c: folder / f"BraTS2021_00001_{suffix}.nii.gz" for c, suffix in SUFFIXES.items()}
    files["t1n"] = folder / ".." / folder.name / files["t1c"].name

    with pytest.raises(DataListError, match="one file is given for two of the channels t1n t1c"):
        Predictor("m", device="cpu").predict(files)


def test_options_of_a_model_can_be_overridden(tmp_path, thresholds):
    words = ["inference.min_component_mm3={ET: 8.5}", "inference.window_size=[8,8,8]"]
    words += ["inference.precision=32"]

    predictor = Predictor("model", device="cpu", overrides=words)

    assert predictor.models[0].config.window_size == (8, 8, 8)
    assert predictor.models[0].config.inference.precision == "32"
    assert predictor.predict(write_case(tmp_path)).volumes_ml["ET"] == 0


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("inference.window_bach=2", "window_bach: unknown key; did you mean 'window_batch'"),
        ("inference.window_size=[8,8]", "window_size has 2 sides"),
        ("training.max_epochs=2", "not of the form inference.KEY=VALUE"),
        ("more_scans", "not of the form inference.KEY=VALUE"),
        ("inference.window_size=[8", "give a YAML value"),
    ],
)
def test_an_override_that_makes_no_sense_is_named(thresholds, word, problem):
    with pytest.raises(ConfigError, match=problem):
        Predictor("model", device="cpu", overrides=[word])


@pytest.mark.parametrize("labels", ["msd", "brats2023"])
def test_labels_may_be_written_in_another_scheme(tmp_path, thresholds, labels):
    case = write_case(tmp_path)

    own = Predictor("model", device="cpu").predict(case).label_map
    other = Predictor("model", device="cpu", labels=labels).predict(case).label_map

    values = {"msd": {0: 0, 1: 2, 2: 1, 4: 3}, "brats2023": {0: 0, 1: 1, 2: 2, 4: 3}}[labels]
    assert np.array_equal(other, np.vectorize(values.get)(own))


def test_a_region_that_the_written_scheme_lacks_is_noted(tmp_path, thresholds):
    thresholds(tiny_config(labels={
        "name": "with cysts",
        "labels": {1: "NCR", 2: "ED", 3: "cyst"},
        "regions": {"WT": [1, 2], "TC": [1], "cyst": [3]},
    }))  # fmt: skip

    prediction = Predictor("model", device="cpu", labels="lgg").predict(write_case(tmp_path))

    assert prediction.notes == (
        "TC is no region of lgg: not written",
        "cyst is no region of lgg: not written",
    )
    assert np.unique(prediction.label_map).tolist() == [0, 1]


def test_a_scheme_with_other_regions_is_refused(thresholds):
    with pytest.raises(LabelError, match=r"'brats2024-gli' needs WT TC ET RC.*gives WT TC ET;"):
        Predictor("model", device="cpu", labels="brats2024-gli")


@pytest.mark.parametrize("whole", [[1, 2, 3], [1, 2, 3, 4]])
def test_volumes_are_those_of_the_written_label_map(tmp_path, thresholds, whole):
    # The cavity fills the core, and may be trained as a part of the whole tumour.
    class WithCavity(Thresholds):
        def forward(self, image):
            logits = super().forward(image)
            return torch.cat([logits, logits[:, 1:2]], dim=1)

    labels = {1: "NETC", 2: "SNFH", 3: "ET", 4: "RC"}
    regions = {"WT": whole, "TC": [1, 3], "ET": [3], "RC": [4]}
    config = tiny_config(labels={"labels": labels, "regions": regions})
    predictor = Predictor("model", device="cpu")
    predictor.models = (Model(WithCavity(), config, {}, "0", "1" * 64, tmp_path),)
    predictor.scheme, predictor.regions = get_scheme("brats2024-gli"), tuple(regions)

    prediction = predictor.predict(write_case(tmp_path))

    written = predictor.scheme.masks(prediction.label_map)
    volumes_ml = {name: mask.sum() / 1000 for name, mask in written.items()}
    assert prediction.volumes_ml == pytest.approx(volumes_ml)
    assert volumes_ml == {"WT": 0.162, "TC": 0.0, "ET": 0.0, "RC": 0.048}


# Slices


class BrightFlair(torch.nn.Module):
    """One region, where FLAIR is brighter than half of what its type can hold."""

    def forward(self, image):
        self.sizes = [*getattr(self, "sizes", []), *[tuple(one.shape[1:]) for one in image]]
        return 20 * (image[:, [1]] - 0.5)


def slice_config(**data):
    options = {"data_list": "l", "patch_size": [16, 16], "channels": ["t1n", "t2f", "t1c"]}
    return tiny_config(labels="lgg", data=options | {"intensity": "unit"} | data)


@pytest.fixture
def bright(monkeypatch):
    """Every model file stands for `BrightFlair`; call it to choose another config."""

    def use(config):
        network = BrightFlair()
        monkeypatch.setattr(
            inference, "load_model", lambda path: Model(network, config, {}, "0", "0", path)
        )
        return network

    use(slice_config())
    return use


def write_stack(folder, ending="png", slices=3, **more):
    """Slices of 20 columns and 12 rows with a tumour in columns 4 to 7 and row 5 of the second."""
    folder.mkdir(parents=True)
    paths = []
    for n in range(slices):
        image = np.full((12, 20, 3), 40, np.uint8) + np.arange(3, dtype=np.uint8)
        image[[0, -1]] = image[:, [0, -1]] = 0
        if n == 1 or slices == 1:
            image[5, 4:8, 1] = 255
        paths.append(folder / f"{folder.name}_{n}.{ending}")
        Image.fromarray(image).save(paths[-1])
    return SliceStackCase(folder.name, folder.name, tuple(paths), ("t1n", "t2f", "t1c"), **more)


def test_a_stack_is_segmented_and_written_as_masks(tmp_path, bright):
    bright(slice_config(spacing_mm=[0.5, 0.5, 4]))
    case = write_stack(tmp_path / "p1", "tif", spacing_mm=(0.5, 0.5, 4.0))

    prediction = Predictor("model", device="cpu").predict(case)

    expected = np.zeros((20, 12, 3), np.uint8)
    expected[4:8, 5, 1] = 1
    assert np.array_equal(prediction.label_map, expected)
    # Four voxels of 0.5 x 0.5 x 4 mm.
    assert prediction.volumes_ml == pytest.approx({"WT": 0.004})
    assert (prediction.slices, prediction.notes) == (case.images, ())
    paths = prediction.save_slices(tmp_path / "masks")
    assert [path.name for path in paths] == ["p1_0.tif", "p1_1.tif", "p1_2.tif"]
    assert np.unique(Image.open(paths[1])).tolist() == [0, 255]
    assert np.array_equal(read_stack_label_map(paths, None)[0], expected)
    prediction.save(tmp_path / "result.nii.gz")
    assert nib.load(tmp_path / "result.nii.gz").header.get_zooms() == (0.5, 0.5, 4)


def test_a_single_slice_is_segmented(tmp_path, bright):
    prediction = Predictor("model", device="cpu").predict(write_stack(tmp_path / "p1", slices=1))

    assert prediction.label_map.shape == (20, 12, 1)
    assert np.argwhere(prediction.label_map).tolist() == [[n, 5, 0] for n in range(4, 8)]


def test_without_the_size_of_a_voxel_there_are_no_volumes(tmp_path, bright):
    sections = {"inference": {"min_component_mm3": {"WT": 5}, "min_region_mm3": {"WT": 5}}}
    bright(ExperimentConfig.from_dict(slice_config().to_dict() | sections))

    prediction = Predictor("model", device="cpu").predict(write_stack(tmp_path / "p1"))

    assert prediction.volumes_ml == {}
    assert not prediction.label_map.any()
    assert prediction.notes == (
        "the size of a voxel is not known: taken as 1 mm",
        "inference.min_component_mm3 counts voxels",
        "inference.min_region_mm3 counts voxels",
    )


def test_masks_of_several_labels_hold_the_labels(tmp_path, thresholds):
    channels = ["t1n", "t1c", "t2w", "t2f"]
    thresholds(tiny_config((16, 16), data={"data_list": "l", "patch_size": [16, 16],
                                           "channels": channels}))  # fmt: skip
    image = np.full((12, 20, 4), 40, np.uint8) + np.arange(12, dtype=np.uint8)[:, None, None] % 2
    image[5:9, 4:8, 3], image[5:7, 4:8, 1], image[5, 4:8, 2] = 250, 250, 250
    image[0, 0] = 0
    Image.fromarray(image).save(tmp_path / "a.png")
    case = SliceStackCase("a", "a", (tmp_path / "a.png",), tuple(channels))

    (path,) = Predictor("model", device="cpu").predict(case).save_slices(tmp_path / "masks")

    found = np.asarray(Image.open(path))
    assert found[4:10, 4].tolist() == [0, 4, 1, 2, 2, 0]


def test_only_the_channel_that_stands_in_is_needed(tmp_path, bright):
    folder = write_case(tmp_path)
    for name in ("t1", "t1ce", "t2"):
        (folder / f"{folder.name}_{name}.nii.gz").unlink()
    with pytest.raises(DataListError, match=r"needs channels t1n t2f t1c\)"):
        Predictor("model", device="cpu").predict(folder)

    bright(slice_config(fill_missing="t2f"))
    predictor = Predictor("model", device="cpu")
    prediction = predictor.predict(folder)

    assert (predictor.channels, predictor.required) == (("t1n", "t2f", "t1c"), ("t2f",))
    assert prediction.missing == ("t1n", "t1c")
    assert prediction.notes == ("t1n, t1c missing: t2f stands in",)
    prediction.save(tmp_path / "result.nii.gz")
    assert np.array_equal(in_ras(tmp_path / "result.nii.gz"), expected_label_map() > 0)


def test_an_ensemble_needs_what_a_model_of_it_needs(tmp_path, monkeypatch):
    configs = [slice_config(fill_missing="t2f"), slice_config(channels=["t2f", "t1c"])]
    monkeypatch.setattr(
        inference,
        "load_model",
        lambda path: Model(BrightFlair(), configs[int(path)], {}, "0", "0", path),
    )

    assert Predictor(["0", "1"], device="cpu").required == ("t2f", "t1c")


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "ASL"])
def test_slices_of_a_volume_are_axial_and_resampled_in_their_plane(tmp_path, bright, orientation):
    network = bright(slice_config(spacing_mm=[2, 2, 2], fill_missing="t2f"))
    case = write_case(tmp_path, orientation=orientation)

    Predictor("model", device="cpu").predict(case).save(tmp_path / "result.nii.gz")

    # The brain spans 17, 19 and 15 voxels along R, A and S, and has a margin of 1: at 2 mm, each
    # of its 17 axial slices fits into one window, and so a slice is seen once.
    assert network.sizes == [(16, 16)] * 17
    found, expected = in_ras(tmp_path / "result.nii.gz") > 0, expected_label_map() > 0
    assert np.array_equal(found.any(axis=(0, 1)), expected.any(axis=(0, 1)))
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.75


def test_slices_are_not_given_by_channel(tmp_path, bright):
    case = write_stack(tmp_path / "p1")
    images = dict(zip(("t1n", "t2f", "t1c"), case.images, strict=True))

    with pytest.raises(DataListError, match=r"p1_0\.png is a 2D image, which holds all channels"):
        Predictor("model", device="cpu").predict(images)


def test_one_array_has_one_label_map_under_all_headers(tmp_path, thresholds):
    """Slices of 3 mm, interpolated to 1 mm and back."""
    thresholds(tiny_config(inference={"min_component_mm3": {"ET": 9, "TC": 9, "WT": 9}}))
    case = write_case(tmp_path)
    turn, further = np.eye(4), np.diag([1.0000001, 1.0000001, 1.0000001, 1])
    turn[:3, :3] = rotation(np.array([7.0, -3, 2]))
    back = np.linalg.inv(further)
    found = {}
    headers = {"straight": np.eye(4), "oblique": turn, "more": further, "less": back}
    for header, by in headers.items():
        folder = tmp_path / header / "a"
        folder.mkdir(parents=True)
        for file in case.iterdir():
            image = nib.load(file)
            thick = np.diag([-1.0, -1, 3, 1])
            nib.save(nib.Nifti1Image(np.asarray(image.dataobj), by @ thick), folder / file.name)
        images = {name: next(folder.glob(f"*_{end}.nii.gz")) for name, end in SUFFIXES.items()}
        found[header] = Predictor("model", device="cpu").predict(images).label_map

    straight = found.pop("straight")
    assert set(np.unique(straight)) >= {0, 2}
    for header, label_map in found.items():
        assert np.array_equal(label_map, straight), header


def test_a_result_that_fills_the_brain_is_told_of(tmp_path, bright, caplog):
    case = write_stack(tmp_path / "p1", slices=1)
    image = np.asarray(Image.open(case.images[0])).copy()
    image[1:-1, 1:-1] = 255
    image[1, 1] = 40
    Image.fromarray(image).save(case.images[0])

    (_, note) = Predictor("model", device="cpu").predict(case).notes

    # Of 18 x 10 voxels of tissue, all but one are marked.
    assert note.startswith("the result fills 99% of the tissue: look at it")
    assert f"p1: {note}" in caplog.messages


# Several models


def test_a_model_with_itself_equals_the_model(tmp_path):
    model, case = write_model(tmp_path / "m.safetensors"), write_case(tmp_path)

    once = Predictor(model, device="cpu").predict(case)
    twice = Predictor([model, model], device="cpu").predict(case)

    assert np.array_equal(twice.label_map, once.label_map)
    for region, values in once.probabilities.items():
        np.testing.assert_allclose(twice.probabilities[region], values, atol=1e-6)


def test_a_model_that_counts_twice_is_told_of(tmp_path, caplog):
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    write_model(first, scores={"dice/WT": 0.9})
    second.write_bytes(first.read_bytes())

    predictor = Predictor([first, second], device="cpu")
    predictor.warn()

    said = f"{second} and {first} are the same model, which therefore counts twice"
    assert predictor.doubts == (said,)
    assert said in caplog.messages


def test_options_of_the_first_model_count_and_those_of_others_are_told_of(thresholds):
    one = tiny_config(inference={"threshold": 0.4})
    thresholds(one, tiny_config(inference={"threshold": 0.6}), one)

    said = [d for d in Predictor(["a", "b", "c"], device="cpu").doubts if "threshold" in d]

    assert said == [
        "inference.threshold is 0.6 in b, but the value of the first model is used, 0.4"
    ]


@pytest.mark.parametrize(
    ("scores", "doubt"),
    [
        ({"dice/WT": 0.9, "dice/TC": 0.8, "dice/ET": 0.1}, None),
        ({}, "was not validated, so its quality is unknown"),
        ({"loss": 0.3, "epoch": 3}, "was not validated"),
        ({"dice/WT": None}, "was not validated"),
        # Of three cases one has no ET, so that the mean is 0.333.
        (
            {"dice/WT": 0.9, "dice/ET": 0.333, "doubts": ["ET is in no prediction, but ..."]},
            "showed in the validation of its training: ET is in no prediction, but ...",
        ),
        (
            {"dice/WT": 0.9, "dice/TC": 0.0312, "dice/ET": 0.0},
            "finds almost nothing of TC, ET: Dice 0.031, 0.000 in its validation",
        ),
    ],
)
def test_a_model_that_found_nothing_in_its_own_validation_is_told_of(tmp_path, scores, doubt):
    model = write_model(tmp_path / "m.safetensors", scores=scores)

    doubts = Predictor(model, device="cpu").doubts

    assert (doubts == ()) if doubt is None else doubts[0].startswith(f"{model} {doubt}")


def test_probabilities_that_are_no_numbers_fail_the_case(tmp_path, thresholds, monkeypatch):
    """No comparison with a threshold holds for NaN, so the label map would be empty."""
    lost = np.float32("nan")
    monkeypatch.setattr(Thresholds, "forward", lambda self, image: image[:, :3] * lost)

    with pytest.raises(
        ModelError, match=r"^case BraTS2021_00001: .* that are no numbers, \d+ of \d+;"
    ):
        Predictor("m", device="cpu").predict(write_case(tmp_path))


def test_an_ensemble_averages_probabilities_of_models_of_any_spacing(tmp_path):
    case = write_case(tmp_path)
    paths = [
        write_model(tmp_path / "a.safetensors", seed=1),
        write_model(
            tmp_path / "b.safetensors",
            seed=2,
            data={
                "data_list": "l",
                "channels": ["t2f", "t1c"],
                "patch_size": [8, 8],
                "spacing_mm": [2, 2, 2],
            },
        ),
    ]

    both = Predictor(paths, device="cpu").predict(case)

    each = [Predictor(path, device="cpu").predict(case) for path in paths]
    for region, values in both.probabilities.items():
        mean = (each[0].probabilities[region] + each[1].probabilities[region]) / 2
        np.testing.assert_allclose(values, mean, atol=1e-6)


def test_regions_of_an_ensemble_are_matched_by_name(tmp_path, thresholds):
    class Reordered(Thresholds):
        def forward(self, image):
            return super().forward(image)[:, [2, 0, 1]]

    case, config = write_case(tmp_path), tiny_config()
    regions = {"ET": [4], "WT": [1, 2, 4], "TC": [1, 4]}
    other = tiny_config(labels={"labels": {1: "NCR", 2: "ED", 4: "ET"}, "regions": regions})
    predictor = Predictor("model", device="cpu")

    predictor.models += (Model(Reordered(), other, {}, "0", "1" * 64, tmp_path),)

    assert predictor.models[0].config == config
    prediction = predictor.predict(case)
    assert np.array_equal(
        prediction.label_map, Predictor("model", device="cpu").predict(case).label_map
    )
    assert prediction.probabilities["ET"].max() > 0.99


def test_each_preprocessing_is_done_once(tmp_path, thresholds, monkeypatch):
    done, real = [], preparing.preprocess
    monkeypatch.setattr(preparing, "preprocess", lambda *args: done.append(args[1:]) or real(*args))
    coarse = tiny_config(data={"data_list": "l", "patch_size": [8] * 3, "spacing_mm": [2] * 3})
    thresholds(tiny_config(), tiny_config(inference={"tta": True}), coarse)

    Predictor(["a", "b", "c"], device="cpu").prepare(write_case(tmp_path))

    assert [options.spacing_mm for (options,) in done] == [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0)]


def test_models_of_different_regions_make_no_ensemble(tmp_path):
    paths = [
        write_model(tmp_path / "a.safetensors"),
        write_model(tmp_path / "b.safetensors", labels="lgg"),
    ]

    with pytest.raises(ModelError, match=r"b\.safetensors has the regions WT, but .*WT TC ET"):
        Predictor(paths, device="cpu")


# What cannot be done


def test_a_missing_channel_is_named(tmp_path, thresholds):
    case = write_case(tmp_path)
    images = {name: case / f"{case.name}_{SUFFIXES[name]}.nii.gz" for name in ("t1n", "t1c")}

    with pytest.raises(
        DataListError,
        match=r"needs channels t1n t1c t2w t2f, but case \w+ has t1n t1c; add t2w t2f",
    ):
        Predictor("model", device="cpu").predict(images)


def test_a_folder_that_lacks_a_channel_is_refused_with_its_name(tmp_path, thresholds):
    case = write_case(tmp_path)
    (case / f"{case.name}_flair.nii.gz").unlink()

    with pytest.raises(
        DataListError,
        match=r"missing channel t2f.*\(the model needs channels t1n t1c t2w t2f\)",
    ):
        Predictor("model", device="cpu").predict(case)


def test_a_wrong_path_says_nothing_of_channels(tmp_path, thresholds):
    with pytest.raises(DataListError) as error:
        Predictor("model", device="cpu").predict(tmp_path / "none")

    assert "does not exist" in str(error.value)
    assert "the model needs" not in str(error.value)


def test_a_folder_of_several_cases_is_refused(tmp_path, thresholds):
    for case_id in ("BraTS2021_00001", "BraTS2021_00002"):
        write_case(tmp_path, case_id)

    with pytest.raises(DataListError, match="holds 2 cases; give the folder of one"):
        Predictor("model", device="cpu").predict(tmp_path)


def test_a_case_of_a_data_list_needs_only_the_channels_of_the_model(tmp_path, thresholds):
    folder = write_case(tmp_path)
    paths = tuple(folder / f"{folder.name}_{suffix}.nii.gz" for suffix in SUFFIXES.values())
    case = VolumeCase("here", "someone", (*paths, folder / "unread.nii.gz"), (*SUFFIXES, "t2star"))

    assert Predictor("model", device="cpu").predict(case).case_id == "here"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"device": "toaster"}, "device is 'toaster'; use auto, cpu, cuda, cuda:N or mps"),
        ({"device": "meta"}, "device is 'meta'; use auto, cpu, cuda, cuda:N or mps"),
        ({"device": "cpu:7"}, "device is 'cpu:7'; use auto, cpu, cuda, cuda:N or mps"),
        ({"device": "cuda:99"}, r"device 'cuda:99' cannot be used \(.{9,200}\); use auto or cpu"),
        ({"device": "cpu", "overlap": 1.0}, r"overlap is 1\.0; it must be"),
        ({"device": "cpu", "labels": "brats1999"}, "unknown label scheme 'brats1999'"),
    ],
)
def test_wrong_options_are_named(thresholds, options, problem):
    with pytest.raises(ConfigError, match=problem):
        Predictor("model", **options)


def test_no_model_at_all_is_refused():
    with pytest.raises(ModelError, match="no model is given"):
        Predictor([], device="cpu")


def test_auto_is_the_gpu_where_there_is_one(monkeypatch):
    for available, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=available: there)
        assert available_device("auto").type == expected


def test_the_package_offers_the_predictor():
    assert volseg.Predictor is Predictor


@pytest.mark.parametrize(
    ("found", "computes"),
    [
        ({"architecture": "x86_64", "avx2": True, "avx512_f": True}, False),
        ({"architecture": "x86_64", "avx512_bf16": True}, True),
        ({"architecture": "x86_64", "amx_bf16": True}, True),
        ({"architecture": "aarch64", "neon": True, "bf16": False}, False),
        ({"architecture": "aarch64", "neon": True, "bf16": True}, True),
    ],
)
def test_units_for_bf16_are_told_from_others(monkeypatch, found, computes):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)

    assert windows.cpu_computes_in_bf16() is computes


@pytest.mark.parametrize("computes", [False, True])
def test_an_older_torch_tells_of_units_for_bf16_too(monkeypatch, computes):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: computes, raising=False)

    assert windows.cpu_computes_in_bf16() is computes


def test_a_processor_without_units_for_bf16_computes_in_float32_and_says_so(
    tmp_path, monkeypatch, caplog
):
    case = write_case(tmp_path)
    path = write_model(tmp_path / "model.safetensors", scores={"dice/WT": 0.9})
    monkeypatch.setattr(windows, "cpu_computes_in_bf16", lambda: False)

    refused = Predictor(path, device="cpu", overrides=["inference.precision=bf16"])
    plain = Predictor(path, device="cpu", overrides=["inference.precision=32"])

    note = "inference.precision=bf16: this processor does not compute in bf16, so float32 is used"
    found, expected = refused.predict(case), plain.predict(case)
    assert caplog.messages == [note]
    assert note in found.notes
    assert note not in expected.notes
    for region, values in expected.probabilities.items():
        assert np.array_equal(found.probabilities[region], values)


def test_half_precision_is_used_where_the_config_says_so(monkeypatch):
    monkeypatch.setattr(windows, "cpu_computes_in_bf16", lambda: True)
    seen = []

    class Layer(torch.nn.Conv3d):
        def forward(self, image):
            seen.append(super().forward(image))
            return seen[-1]

    torch.manual_seed(0)
    network, image = Layer(4, 3, 3, padding=1), torch.randn(4, 16, 16, 16)
    found = {
        precision: segment(
            network, image, tiny_config(inference={"precision": precision}), device="cpu"
        )
        for precision in ("auto", "32", "bf16")
    }

    assert [logits.dtype for logits in seen] == [torch.float32, torch.float32, torch.bfloat16]
    assert all(probabilities.dtype == torch.float32 for probabilities in found.values())
    assert torch.equal(found["auto"], found["32"])
    # 8 bits of mantissa: logits about 1 are off by up to 0.01.
    torch.testing.assert_close(found["bf16"], found["32"], atol=0.01, rtol=0)


def test_probabilities_of_a_real_case_are_those_of_monais_transforms_and_inferer(
    tmp_path, real_data
):
    folder = real_data / "brats2021" / "BraTS2021_00006"
    predictor = Predictor(
        write_model(tmp_path / "model.safetensors", patch=(128, 128, 128)), device="cpu"
    )

    found = predictor.predict(folder).probabilities

    files = [folder / f"{folder.name}_{SUFFIXES[name]}.nii.gz" for name in predictor.channels]
    steps = [
        LoadImaged("image"),
        EnsureChannelFirstd("image"),
        Orientationd("image", axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
        CropForegroundd("image", "image", select_fn=lambda x: x != 0),
        NormalizeIntensityd("image", nonzero=True, channel_wise=True),
    ]
    plain = Compose(steps)({"image": files})
    network = predictor.models[0].network
    inferer = SlidingWindowInferer([128] * 3, overlap=0.5, mode="gaussian")
    with torch.inference_mode():
        expected = inferer(
            plain["image"].as_tensor()[None], lambda windows: torch.sigmoid(network(windows))
        )[0]
    box = tuple(
        slice(int(start), int(end))
        for start, end in zip(
            plain["foreground_start_coord"], plain["foreground_end_coord"], strict=True
        )
    )
    for region, values in zip(predictor.regions, expected, strict=True):
        ras = found[region][::-1, ::-1]  # the file is LPS
        # Our grey values are rounded to float16, by up to 0.004 of a value of 8.
        np.testing.assert_allclose(ras[box], values.numpy(), rtol=5e-3)
        assert values.std() > 0.1 * values.mean()
        assert np.count_nonzero(ras) == np.count_nonzero(ras[box])


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PSR", "AIL"])
@pytest.mark.parametrize("spacing_mm", [1.0, 1.6, 2.3])
def test_outside_the_box_that_an_image_covers_all_is_background(tmp_path, orientation, spacing_mm):
    case = write_case(tmp_path, orientation=orientation)
    predictor = Predictor(write_model(tmp_path / "model.safetensors"), device="cpu")
    images = predictor.find(case).cases[0].read_images(predictor.channels)
    data = PreprocessingConfig(spacing_mm=(spacing_mm,) * 3)
    done = preprocess(images, data)

    box = covered(done.image_grid, images.grid)

    everywhere = torch.ones((1, *done.image.shape[1:]))
    reached = to_original(everywhere, done.image_grid, images.grid)[0].numpy() > 0
    assert box == bounding_box(reached)
    assert reached[box].all()


def test_the_name_of_an_image_with_nul_is_refused(tmp_path):
    predictor = Predictor(write_model(tmp_path / "m.safetensors"), device="cpu")

    with pytest.raises(DataListError, match="no file can have a name with NUL"):
        predictor.predict({"t1n": "a\0b", "t1c": "c", "t2w": "d", "t2f": "e"})
