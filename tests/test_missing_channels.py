"""Cases without some channels: channel dropout in training, and its models in `infer`."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from experiments import write_small_config
from PIL import Image
from tiny_models import write_model
from tiny_scans import write_case, write_images

from volseg.cases.data_list import read_data_list
from volseg.cli.info import in_short
from volseg.config import (
    CHANNELS,
    AugmentationConfig,
    ExperimentConfig,
    PreprocessingConfig,
    idle_options,
    load_config,
    write_config,
)
from volseg.errors import ConfigError, DataListError, ModelError
from volseg.finding.folders import find_cases
from volseg.inference.options import InferOptions
from volseg.inference.predictor import Predictor
from volseg.model_header import read_model_header, write_changed_header
from volseg.reporting.result_sections import case_notes
from volseg.results.manifest import read_manifest
from volseg.tasks.check import check
from volseg.tasks.infer import infer
from volseg.tasks.info import info
from volseg.tasks.split import DEFAULTS, SplitOptions, split
from volseg.training.announcements import missing_channel_lines
from volseg.training.cache.cases import build_cache
from volseg.training.datamodule import PatchDataset
from volseg.transforms import preprocess
from volseg.transforms.augmentation import augmentation

#: No change of a patch but by channel dropout.
PLAIN = dict.fromkeys(
    (
        *("flip", "rotate", "scale", "elastic", "intensity_scale", "intensity_shift"),
        *("bias_field", "noise", "blur", "contrast", "low_resolution", "gamma"),
    ),
    0.0,
)


def kept_of(image: torch.Tensor) -> tuple[int, ...]:
    """Numbers of the channels of an image that are not 0 everywhere."""
    return tuple(number for number, channel in enumerate(image) if channel.any())


def drawn(channels: int, share: float, samples: int) -> Counter[tuple[int, ...]]:
    image = torch.ones(channels, 4, 4)
    change = augmentation(AugmentationConfig(**PLAIN), 2, subset=share)
    given = {"image": image, "mask": image.bool()}
    return Counter(
        kept_of(change.set_random_state(seed)(given)["image"]) for seed in range(samples)
    )


@pytest.fixture(scope="module")
def small(cohort, tmp_path_factory) -> ExperimentConfig:
    folder = tmp_path_factory.mktemp("small")
    data = {"cache_dir": str(folder / "cache"), "channel_dropout": 0.5}
    return load_config(
        write_small_config(
            folder / "config.yaml",
            cohort / "list.json",
            data=data,
            augmentation=PLAIN,
            network={"name": "unet", "residual_units": 0},
        )
    )


@pytest.fixture(scope="module")
def cached(small):
    cases = read_data_list(small.data.data_list).training
    return build_cache(cases, small, small.data.data_list.parent / "cache")[0]


def with_data(config: ExperimentConfig, **options: object) -> ExperimentConfig:
    plain = config.to_dict()
    return ExperimentConfig.from_dict({**plain, "data": {**plain["data"], **options}})


@pytest.mark.parametrize("channels", [2, 3, 5])
def test_every_subset_but_none_and_all_is_drawn_as_often(channels):
    samples, subsets = 60 * (2**channels - 2), 2**channels - 2

    counts = drawn(channels, 1.0, samples)

    assert len(counts) == subsets
    assert () not in counts
    assert tuple(range(channels)) not in counts
    # Pearson's test of equal shares; its statistic has the mean `subsets - 1`.
    assert sum((n - 60) ** 2 / 60 for n in counts.values()) < 2 * subsets + 10


def test_the_option_is_the_share_of_patches_that_lack_channels():
    counts = drawn(4, 0.3, 1000)

    assert 1000 - counts[0, 1, 2, 3] == pytest.approx(300, abs=45)


@pytest.mark.parametrize("patch", [[16, 16, 16], [16, 16]])
def test_a_patch_lacks_channels_by_its_number_alone_and_is_otherwise_the_same(small, cached, patch):
    config = with_data(small, patch_size=patch)
    whole = PatchDataset(cached, with_data(config, channel_dropout=0.0))
    first, second = PatchDataset(cached, config), PatchDataset(cached, config)
    images = [first[number]["image"] for number in range(12)]

    # A resumed run, another worker and another rank begin in the middle.
    assert all(torch.equal(second[n]["image"], images[n]) for n in (11, 7))
    assert len({kept_of(image) for image in images}) > 3
    for number, image in enumerate(images):
        expected = whole[number]
        for channel in kept_of(image):
            assert torch.equal(image[channel], expected["image"][channel])
        assert torch.equal(first[number]["mask"], expected["mask"])


def test_without_the_option_no_random_number_is_drawn_for_it(small, cached):
    options = small.to_dict()
    del options["data"]["channel_dropout"]
    options["augmentation"] = {}
    plain = PatchDataset(cached, ExperimentConfig.from_dict(options))

    names = [type(step).__name__ for step in plain.augment.transforms[-1].transforms]

    assert "RandomSubset" not in names
    assert small.preprocessing.digest == ExperimentConfig.from_dict(options).preprocessing.digest


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"channels": ["ct"]}, "ct is the only channel, and a case needs one"),
        ({"fill_missing": "t2f"}, "fill_missing is 't2f', so that a missing channel is a copy"),
    ],
)
def test_channel_dropout_is_refused_where_no_channel_can_be_zero(small, options, problem):
    with pytest.raises(ConfigError, match=f"channel_dropout is 0.5, but {problem}"):
        with_data(small, **options)


def test_the_dropout_of_the_augmentation_is_idle_beside_that_of_the_data(small):
    options = small.to_dict()
    options["augmentation"]["channel_dropout"] = 0.15

    assert idle_options(ExperimentConfig.from_dict(options)) == [
        "augmentation.channel_dropout=0.15 has no effect, "
        "as data.channel_dropout=0.5 drops channels"
    ]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """Model files with and without channel dropout; nobody trained them."""
    folder, data = tmp_path_factory.mktemp("models"), {"data_list": "l", "patch_size": [16] * 3}
    return {
        "any": write_model(folder / "any.safetensors", data=data | {"channel_dropout": 0.5}),
        "all": write_model(folder / "all.safetensors", data=data),
    }


def write_label_maps(scans: Path) -> None:
    """A label map of brats2023 for each case of a folder."""
    for number, folder in enumerate(sorted(scans.iterdir())):
        image = nib.load(folder / f"{folder.name}_t1.nii.gz")
        labels = np.zeros(image.shape, np.uint8)
        labels[6 - number : 12, 7:13, 5:9] = 2
        labels[7:10, 8:11, 6:8] = 1
        labels[8, 9, 6:8] = 3
        nib.save(nib.Nifti1Image(labels, image.affine), folder / f"{folder.name}_seg.nii.gz")


@pytest.fixture
def scans(tmp_path) -> Path:
    """A whole case A, and a case B without t1c and t2w."""
    for name in ("BraTS2021_00001", "BraTS2021_00002"):
        write_case(tmp_path / "scans", name)
    for suffix in ("t1ce", "t2"):
        (tmp_path / "scans" / "BraTS2021_00002" / f"BraTS2021_00002_{suffix}.nii.gz").unlink()
    return tmp_path / "scans"


def test_a_missing_channel_is_zero_and_the_others_are_as_in_a_whole_case(scans):
    whole, part = find_cases([scans], required=[]).cases
    options = PreprocessingConfig()

    images = part.read_images(options.channels, optional=True)
    done, expected = preprocess(images, options), preprocess(whole.read_images(CHANNELS), options)

    assert images.missing == ("t1c", "t2w")
    assert images.notes == ("t1c, t2w missing: zeros stand in",)
    assert kept_of(torch.from_numpy(done.image)) == (0, 3)
    assert done.image_grid == expected.image_grid
    np.testing.assert_array_equal(done.image[[0, 3]], expected.image[[0, 3]])


def test_what_training_drops_is_what_infer_gives_for_a_missing_channel(scans):
    whole, part = find_cases([scans], required=[]).cases
    image = preprocess(whole.read_images(CHANNELS), PreprocessingConfig(), np.float32).image
    missing = preprocess(
        part.read_images(CHANNELS, optional=True), PreprocessingConfig(), np.float32
    ).image
    change = augmentation(AugmentationConfig(**PLAIN), 3, subset=1.0)
    given = {"image": torch.from_numpy(image), "mask": torch.from_numpy(image > 0)}

    images = (change.set_random_state(seed)(given)["image"] for seed in range(100))

    dropped = next(image for image in images if kept_of(image) == (0, 3))
    np.testing.assert_array_equal(dropped, missing)


def test_a_channel_that_a_training_case_lacks_stays_0_when_grey_values_change():
    image = torch.rand(4, 8, 8, 8) + 1
    image[[1, 2]] = 0
    changes = PLAIN | dict.fromkeys(("noise", "intensity_shift", "gamma", "contrast"), 1.0)
    change = augmentation(AugmentationConfig(**changes), 3, subset=0.5)
    given = {"image": image, "mask": image > 0, "tissue": torch.ones(1, 8, 8, 8)}

    kept = Counter(kept_of(change.set_random_state(seed)(given)["image"]) for seed in range(100))

    # One of the channels that it has stays, or both.
    assert kept.keys() == {(0,), (3,), (0, 3)}


@pytest.mark.parametrize("intensity", [{"intensity": "unit", "intensity_range": (-100, 500)}])
def test_zero_is_zero_also_where_grey_values_have_a_stated_range(scans, intensity):
    _, part = find_cases([scans], required=[]).cases

    done = preprocess(
        part.read_images(CHANNELS, optional=True), PreprocessingConfig(**intensity), np.float32
    )

    assert kept_of(torch.from_numpy(done.image)) == (0, 3)


def test_a_model_file_says_whether_cases_may_lack_channels(models, tmp_path):
    assert read_model_header(models["any"]).content["channels_optional"] is True
    assert read_model_header(models["all"]).content["channels_optional"] is False
    write_changed_header(
        read_model_header(models["all"]), tmp_path / "m.safetensors", {"channels_optional": True}
    )

    with pytest.raises(ModelError, match=r"channels_optional is True, but config\.data\.channel_d"):
        read_model_header(tmp_path / "m.safetensors")


def test_a_model_of_an_earlier_version_is_read_by_its_config(models, tmp_path):
    write_changed_header(
        read_model_header(models["all"]), tmp_path / "m.safetensors", {"channels_optional": None}
    )

    assert not Predictor(tmp_path / "m.safetensors").models[0].config.data.channels_optional


def test_info_says_that_channels_may_be_missing(models):
    facts = {name: info(path) for name, path in models.items()}

    assert facts["any"]["channels_optional"] is True
    ending = "t1n t1c t2w t2f at 1 x 1 x 1 mm"
    assert in_short(facts["all"])["channels"] == ending
    assert in_short(facts["any"])["channels"] == f"{ending}, of which a case may lack any but one"


def test_infer_segments_a_case_without_some_channels_and_records_them(
    scans, models, tmp_path, caplog
):
    with caplog.at_level("INFO"):
        result = infer(scans, models["any"], tmp_path / "out")

    assert result.done == ("BraTS2021_00001", "BraTS2021_00002")
    records = read_manifest(tmp_path / "out")["cases"]
    assert records["BraTS2021_00001"]["missing_channels"] == []
    assert records["BraTS2021_00002"]["missing_channels"] == ["t1c", "t2w"]
    assert "t1c, t2w missing: zeros stand in" in records["BraTS2021_00002"]["notes"]
    assert list(records["BraTS2021_00002"]["inputs"]) == ["t1n", "t2f"]
    assert "BraTS2021_00002: t1c, t2w missing: zeros stand in" in caplog.messages
    assert (tmp_path / "out" / "previews" / "BraTS2021_00002.png").is_file()
    assert case_notes(records["BraTS2021_00002"])[0] == "without t1c, t2w"


def test_a_model_without_dropout_leaves_such_a_case_out_with_the_remedy(
    scans, models, tmp_path, caplog
):
    result = infer(scans, models["all"], tmp_path / "out", InferOptions(preview=False))

    assert result.done == ("BraTS2021_00001",)
    assert result.failures == {"BraTS2021_00002": "missing channels t1c, t2w; complete the case"}
    assert (
        "to segment 1 case without some channels, use a model that needs fewer channels, such as "
        "one trained with data.channel_dropout" in caplog.messages
    )


def test_a_channel_that_comes_later_makes_the_result_again(scans, models, tmp_path):
    options = InferOptions(preview=False)
    infer(scans, models["any"], tmp_path / "out", options)
    first, second = scans / "BraTS2021_00001", scans / "BraTS2021_00002"
    shutil.copy(first / f"{first.name}_t1ce.nii.gz", second / f"{second.name}_t1ce.nii.gz")

    result = infer(scans, models["any"], tmp_path / "out", options)

    assert (result.done, result.kept) == ((second.name,), (first.name,))
    assert read_manifest(tmp_path / "out")["cases"][second.name]["missing_channels"] == ["t2w"]


def test_of_models_with_and_without_dropout_those_without_are_named(scans, models):
    predictor = Predictor([models["any"], models["all"]])

    assert predictor.predict(scans / "BraTS2021_00001").missing == ()
    with pytest.raises(DataListError, match=r"missing channels t1c, t2w") as error:
        predictor.predict(scans / "BraTS2021_00002")
    assert str(models["all"]) in str(error.value.remedy)
    assert "leave out" in str(error.value.remedy)
    assert str(models["any"]) not in str(error.value.remedy)


def test_files_and_arrays_by_channel_may_be_few(scans, models):
    folder = scans / "BraTS2021_00002"
    files = {name: folder / f"{folder.name}_{name}.nii.gz" for name in ("t1", "flair")}
    predictor, strict = Predictor(models["any"]), Predictor(models["all"])
    expected = predictor.predict(folder)

    of_files = predictor.predict(files)
    in_memory = predictor.predict({name: nib.load(path) for name, path in files.items()})

    for prediction in (of_files, in_memory):
        assert prediction.missing == ("t1c", "t2w")
        np.testing.assert_array_equal(prediction.label_map, expected.label_map)
    for given in (files, {name: nib.load(path) for name, path in files.items()}):
        with pytest.raises(DataListError, match="has t1n t2f") as error:
            strict.predict(given)
        assert error.value.remedy == (
            "add t1c t2w or use a model that needs fewer channels, such as one trained with "
            "data.channel_dropout"
        )


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_case_without_any_of_the_channels_is_refused(scans, models, in_memory):
    file = scans / "BraTS2021_00001" / "BraTS2021_00001_t1.nii.gz"
    image = nib.load(file) if in_memory else file

    with pytest.raises(DataListError, match=r"t1n or t1c or t2w or t2f, any of them, but .* pet"):
        Predictor(models["any"]).predict({"pet": image})


def test_a_file_whose_name_holds_no_channel_is_not_guessed(scans, models):
    file = scans / "scan.nii.gz"
    shutil.copy(scans / "BraTS2021_00001" / "BraTS2021_00001_t1.nii.gz", file)

    with pytest.raises(DataListError, match=r"scan\.nii\.gz may hold t1n or t1c or t2w or t2f"):
        Predictor(models["any"]).predict(file)


def test_a_run_trains_on_incomplete_cases_and_another_leaves_them_out(small, scans, tmp_path):
    write_label_maps(scans)
    cases = find_cases([scans], required=[]).cases
    with_dropout = build_cache(cases, small, tmp_path / "cache")
    # The same cache: what it holds of an incomplete case is not for a run that needs all.
    ready, failures = build_cache(cases, with_data(small, channel_dropout=0.0), tmp_path / "cache")

    assert [case.missing for case in with_dropout[0]] == [(), ("t1c", "t2w")]
    assert kept_of(torch.from_numpy(np.asarray(with_dropout[0][1].image))) == (0, 3)
    assert [case.case.case_id for case in ready] == ["BraTS2021_00001"]
    assert failures[0][0] == "BraTS2021_00002"
    assert "train with data.channel_dropout" in failures[0][1]
    lines, warning = missing_channel_lines(with_dropout[0], [], small)
    assert lines == ["BraTS2021_00002 (training): t1c, t2w missing: zeros stand in"]
    assert warning is None


def test_split_lists_incomplete_cases_if_asked_to(scans, tmp_path):
    write_label_maps(scans)
    options = SplitOptions(fewer_folds=True, incomplete=True)
    with pytest.raises(DataListError, match="1 case left out"):
        split([scans], tmp_path / "l.json", labels="brats2023", options=DEFAULTS)

    result = split([scans], tmp_path / "list.json", labels="brats2023", options=options)

    listed = read_data_list(tmp_path / "list.json")
    assert [case.channels for case in listed.training] == [CHANNELS, ("t1n", "t2f")]
    assert not result.finding.lost
    assert (
        "1 case without some channels, such as BraTS2021_00002 without t1c, t2w: train with "
        "data.channel_dropout, or fit leaves them out" in result.notes
    )


def test_check_takes_incomplete_cases_for_a_training_with_dropout(small, scans, tmp_path):
    write_label_maps(scans)
    path = tmp_path / "list.json"
    options = SplitOptions(fewer_folds=True, incomplete=True)
    split([scans], path, labels="brats2023", options=options)
    config = with_data(small, data_list=str(path), fold=None, patch_size=[16, 16, 16])

    for name, share in (("taken", 0.5), ("refused", 0.0)):
        write_config(tmp_path / f"{name}.yaml", with_data(config, channel_dropout=share))

    taken, refused = (check(tmp_path / f"{name}.yaml") for name in ("taken", "refused"))

    assert not taken.problems
    assert "no t1c t2w, but only t1n t2f" in refused.problems[0]


def test_a_copy_in_place_of_a_missing_channel_is_noted(scans, models, caplog):
    folder = scans / "BraTS2021_00001"
    shutil.copy(folder / f"{folder.name}_flair.nii.gz", folder / f"{folder.name}_t2.nii.gz")
    note = "t2w and t2f are equal in every voxel: if one stands in for a missing channel"

    prediction = Predictor(models["any"]).predict(folder)

    assert any(said.startswith(note) for said in prediction.notes)
    assert any(note in message for message in caplog.messages)
    assert not any(note in said for said in Predictor(models["all"]).predict(folder).notes)


def test_slices_without_some_channels_are_images_with_fewer_named_channels(tmp_path):
    data = {"data_list": "l", "channels": ["t1n", "t2f", "t1c"], "patch_size": [16, 16]}
    model = write_model(
        tmp_path / "m.safetensors", labels="lgg", data=data | {"channel_dropout": 0.5}
    )
    write_images(tmp_path, ["a.png"])
    Image.open(tmp_path / "a.png").convert("L").save(tmp_path / "a.png")

    prediction = Predictor(model).predict({"t2f": tmp_path / "a.png"})

    assert prediction.missing == ("t1n", "t1c")
    assert "t1n, t1c missing: zeros stand in" in prediction.notes
