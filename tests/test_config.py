"""Configs: every option typed, every mistake told at once, and what is written is read back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from volseg.config import (
    ExperimentConfig,
    NetworkSection,
    PreprocessingConfig,
    Section,
    load_config,
    write_config,
)
from volseg.config.networks import NETWORKS
from volseg.config.networks.attention_unet import AttentionUNetConfig
from volseg.config.networks.dynunet import DynUNetConfig
from volseg.config.networks.segnet import SegNetConfig
from volseg.config.networks.segresnet import SegResNetConfig
from volseg.config.networks.swin_unetr import SwinUNETRConfig
from volseg.config.networks.unet import UNetConfig
from volseg.errors import ConfigError
from volseg.labels import LabelScheme, get_scheme

MINIMAL = {"labels": "brats2021", "data": {"data_list": "list.json"}}
CUSTOM = {
    "name": "liver",
    "labels": {1: "liver", 2: "lesion"},
    "regions": {"liver": [1, 2], "lesion": [2]},
}


@pytest.fixture
def minimal_yaml(tmp_path) -> Path:
    path = tmp_path / "minimal.yaml"
    path.write_text("labels: brats2021\ndata:\n  data_list: list.json\n", encoding="utf-8")
    return path


def config(**sections) -> ExperimentConfig:
    """The minimal config with options of its sections replaced."""
    data = MINIMAL["data"] | sections.pop("data", {})
    return ExperimentConfig.from_dict(MINIMAL | {"data": data} | sections)


def mistakes(**sections) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config(**sections)
    heading, *lines = str(caught.value).splitlines()
    assert heading == "config is not a valid config:"
    return [line.removeprefix("  ") for line in lines]


def test_labels_and_a_data_list_are_all_that_a_config_must_say():
    result = config()

    assert result.labels is get_scheme("brats2021")
    assert result.data.data_list == Path("list.json")
    assert result.network == UNetConfig()
    assert result.window_size == (128, 128, 128)
    assert result.spatial_dims == 3


def test_the_length_of_the_patch_makes_a_config_2d():
    result = config(data={"patch_size": [64, 64]}, inference={"window_size": [96, 96]})

    assert result.spatial_dims == 2
    assert result.window_size == (96, 96)


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        config().training.max_epochs = 1


class WithAnOption(PreprocessingConfig):
    """As the section would be with one option more."""

    denoise: bool = False


OTHER_OPTIONS = {
    "channels": ("t1c", "t1n", "t2w", "t2f"),
    "spacing_mm": (1, 1, 2),
    "background": 0.1,
    "intensity": "unit",
    "intensity_range": (0.0, 255.0),
    "windows": {"t1c": (0.0, 80.0)},
    "clip_percentiles": {"t1n": (1.0, 99.0)},
    "fill_missing": "t2f",
    "spatial_dims": 2,
}


def test_every_option_of_preprocessing_has_a_say_in_its_digest(monkeypatch):
    plain = PreprocessingConfig()
    others = [plain.model_copy(update={name: value}) for name, value in OTHER_OPTIONS.items()]
    more = [WithAnOption(), WithAnOption(denoise=True)]

    assert OTHER_OPTIONS.keys() == PreprocessingConfig.model_fields.keys()
    digests = [options.digest for options in (plain, *others, *more)]
    assert len(set(digests)) == len(digests)
    assert PreprocessingConfig(spacing_mm=[1, 1, 1]).digest == plain.digest
    assert len({plain, PreprocessingConfig(), *others, *more}) == len(digests)
    monkeypatch.setattr("volseg.config.preprocessing._VERSION", 99)
    assert plain.digest not in digests


def test_options_that_came_later_leave_the_digests_of_other_configs_as_they_were():
    # Of caches, runs and ensembles that were made before there were windows.
    assert PreprocessingConfig().digest == (
        "823df1bada4ba3de3215d51b29e4e0d2a75737783de01c1a8c26573f8b2e1ace"
    )
    of_8_bit = PreprocessingConfig(channels=("ct",), intensity="unit", intensity_range=(0, 255))
    assert of_8_bit.digest == "ee039ce6ee2989baf42ff49c9db17f0f8d81665218b388be2b4daa4f6a87d4cc"


def test_windows_and_percentiles_are_of_channels_that_there_are():
    assert config(data={"channels": ["ct", "adc"], "windows": {"ct": [-20, 100]}})
    for data, said in (
        ({"windows": {"ct": [-20, 100]}}, "windows names 'ct', but the channels are ['t1n',"),
        ({"windows": {"t1n": [5, 5]}}, "windows of t1n is [5.0, 5.0]; give the smaller value"),
        ({"clip_percentiles": {"t1n": [0, 101]}}, "less than or equal to 100, got 101"),
        (
            {"windows": {"t1n": [0, 9]}, "clip_percentiles": {"t1n": [0, 99]}},
            "windows and clip_percentiles both name ['t1n']; give each channel one of them",
        ),
        (
            {"windows": {"t1n": [0, 9]}, "intensity": "unit", "intensity_range": [0, 9]},
            "intensity_range is for all channels, and windows are for some",
        ),
    ):
        (mistake,) = mistakes(data=data)
        assert said in mistake


def test_what_decides_a_preprocessed_case_is_written_in_section_data():
    # A range for all channels and windows for some contradict each other.
    options = OTHER_OPTIONS | {"windows": {}}
    section = {name: value for name, value in options.items() if name != "spatial_dims"}
    other = config(data={**section, "patch_size": [32, 32]})

    assert config().preprocessing == PreprocessingConfig()
    assert other.preprocessing == PreprocessingConfig(**options)
    # How patches are cut is no matter of the cases that they are cut from.
    assert config(data={"fold": 1, "batch_size": 9}).preprocessing == PreprocessingConfig()


def test_a_range_of_grey_values_is_for_intensity_unit():
    assert config(data={"intensity": "unit", "intensity_range": [0, 255]})
    for data in ({"intensity_range": [0, 255]}, {"intensity": "unit", "intensity_range": [9, 9]}):
        (mistake,) = mistakes(data=data)
        assert "intensity_range is" in mistake
        assert "give the smaller value first, and intensity 'unit', or leave it out" in mistake


def test_all_mistakes_are_told_at_once(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(
        "labels: brats1999\n"
        "data: {data_list: a.json, batch_size: 0, spacing_mm: [1, 1]}\n"
        "training: {learning_rat: 0.1, precision: 8}\n"
        "optimizer: adamw\n"
        "network: {name: dynunet, width: 4}\n",
        encoding="utf-8",
    )

    with pytest.raises(ConfigError) as caught:
        load_config(path)

    assert str(caught.value).splitlines() == [
        f"{path} is not a valid config:",
        "  labels: unknown label scheme 'brats1999'; use one of brats2021, brats2023, "
        "brats2024-gli, brats2024-ped, brats2015, msd, men-rt, lgg, binary",
        "  data.spacing_mm: list should have at least 3 items after validation, not 2",
        "  data.batch_size: input should be greater than 0, got 0",
        "  network.width: unknown key; did you mean 'widths'?",
        "  training.precision: input should be '32', '16-mixed', 'bf16-mixed' or 'auto', got 8",
        "  training.learning_rat: unknown key; did you mean 'learning_rate'?",
        "  optimizer: unknown key; did you mean 'training.optimizer'?",
    ]


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"traning": {}}, "traning: unknown key; did you mean 'training'?"),
        (
            {"network": {"name": "swin_unetr", "depth": 1}},
            "network.depth: unknown key; did you mean 'depths'?",
        ),
        (
            {"network": {"name": "unett"}},
            "network: unknown network 'unett'; did you mean 'unet'?",
        ),
        (
            {"network": {"widths": [8, 16]}},
            f"network: name is missing; use one of {', '.join(NETWORKS)}",
        ),
        (
            {"data": {"fill_missing": "t2"}},
            "data: fill_missing is 't2', but the channels are ['t1n', 't1c', 't2w', 't2f']; "
            "choose one of them",
        ),
        (
            {"network": {"name": "pspnet", "norm": "instance", "encoder_weights": "a.pt"}},
            "network: encoder_weights were trained with batch norm; leave norm out, or "
            "encoder_weights",
        ),
        ({"network": "unet"}, "network: a section holds lines of `option: value`, got 'unet'"),
        ({"loss": None}, "loss: a section holds lines of `option: value`, got None"),
        ({"data": {"data_list": 5}}, "data.data_list: give a path, got 5"),
        ({"data": {"patch_size": 64}}, "data.patch_size: input should be a valid list, got 64"),
        (
            {"data": {"channels": ["t1c", "t1c"]}},
            "data: channels ['t1c', 't1c'] repeat; name each channel once",
        ),
        (
            {"network": {"name": "unet", "deep_supervision": True}},
            "network.deep_supervision: input should be False, got True",
        ),
        (
            {"network": {"name": "segresnet", "blocks_up": [1]}},
            "network: blocks_up needs 3 numbers, one less than blocks_down, got 1",
        ),
        (
            {"network": {"name": "segresnet", "width": 12}},
            "network: width must be a multiple of 8, got 12",
        ),
        (
            {"network": {"name": "swin_unetr", "width": 16}},
            "network: width must be a multiple of 12, got 16",
        ),
        ({"loss": {"dice": 0, "bce": 0}}, "loss: dice, bce and focal are all 0; give one a weight"),
        (
            {"data": {"data_list": "a.json", "spacing_mm": [1, 1, 21]}},
            "data.spacing_mm.2: input should be less than or equal to 20, got 21",
        ),
        (
            {"training": {"devices": "some"}},
            "training.devices: give 'auto' or a whole number above 0, got 'some'",
        ),
        (
            {"training": {"learning_rate": float("nan")}},
            "training.learning_rate: input should be a finite number, got nan",
        ),
        (
            {"inference": {"min_component_mm3": {"ET": -1}}},
            "inference.min_component_mm3.ET: input should be greater than or equal to 0, got -1",
        ),
    ],
)
def test_a_mistake_names_the_option_what_was_found_and_what_is_right(sections, line):
    assert mistakes(**sections) == [line]


def test_what_is_missing_is_named():
    with pytest.raises(ConfigError, match=r"labels: missing; add it\n  data: missing; add it"):
        ExperimentConfig.from_dict({})


def test_a_key_that_is_no_word_is_told():
    with pytest.raises(ConfigError, match="1: keys should be strings, got 1"):
        ExperimentConfig.from_dict(MINIMAL | {1: 2})


@pytest.mark.parametrize(
    ("patch", "nearest"),
    [
        ([120, 128, 100], [128, 128, 96]),
        ([5, 130, 24], [16, 128, 32]),
        ([10, 10, 9], [32, 32, 32]),
    ],
)
def test_a_patch_that_is_no_multiple_of_the_divisor_is_told_the_nearest(patch, nearest):
    assert mistakes(data={"patch_size": patch}) == [
        f"data.patch_size: {patch} is not a multiple of 16, which unet with these options needs; "
        f"the nearest is {nearest}"
    ]


def test_a_patch_that_leaves_one_voxel_at_the_coarsest_level_is_refused():
    assert mistakes(data={"patch_size": [16, 16]}) == [
        "data.patch_size: [16, 16] leaves a single voxel at the coarsest level of unet; "
        "the nearest is [32, 32]"
    ]
    assert config(data={"patch_size": [16, 32]}).spatial_dims == 2


def test_the_nearest_patch_is_one_that_is_accepted():
    for side in range(1, 80):
        patch = [side, side, side]
        try:
            config(data={"patch_size": patch})
        except ConfigError as error:
            nearest = yaml.safe_load(str(error).rpartition("is ")[2])
            assert config(data={"patch_size": nearest}).data.patch_size == tuple(nearest)


def test_every_mistake_of_the_window_and_the_components_is_told():
    assert mistakes(
        data={"patch_size": [30, 30, 32]},
        inference={
            "window_size": [32, 32],
            "min_component_mm3": {"RC": 5},
            "largest_component": ["WTT"],
            "threshold": {"wt": 0.4},
            "min_region_mm3": {"NCR": 200},
        },
    ) == [
        "data.patch_size: [30, 30, 32] is not a multiple of 16, which unet with these options "
        "needs; the nearest is [32, 32, 32]",
        "inference.window_size has 2 sides and data.patch_size 3; give both the same "
        "number of sides",
        "inference.threshold names ['wt'], but the regions of brats2021 are ['WT', 'TC', 'ET']",
        "inference.min_component_mm3 names ['RC'], but the regions of brats2021 are "
        "['WT', 'TC', 'ET']",
        "inference.largest_component names ['WTT'], but the regions of brats2021 are "
        "['WT', 'TC', 'ET']",
        "inference.min_region_mm3 names ['NCR'], but the regions of brats2021 are "
        "['WT', 'TC', 'ET']",
    ]


def test_a_threshold_is_a_number_or_has_one_for_each_region():
    by_region = config(inference={"threshold": {"ET": 0.3}}).inference

    assert [by_region.threshold_of(region) for region in ("WT", "TC", "ET")] == [0.5, 0.5, 0.3]
    assert config(inference={"threshold": 0.4}).inference.threshold_of("ET") == 0.4
    assert mistakes(inference={"threshold": 1}) == [
        "inference.threshold: input should be less than 1, got 1"
    ]
    assert mistakes(inference={"threshold": {"ET": 0, "TC": "many"}}) == [
        "inference.threshold.ET: input should be greater than 0, got 0",
        "inference.threshold.TC: input should be a valid number, unable to parse string as a "
        "number, got 'many'",
    ]


def test_a_window_that_is_no_multiple_of_the_divisor_is_told_the_nearest():
    assert mistakes(inference={"window_size": [128, 128, 120]}) == [
        "inference.window_size: [128, 128, 120] is not a multiple of 16, which unet with these "
        "options needs; the nearest is [128, 128, 128]"
    ]


@pytest.mark.parametrize(
    ("network", "divisor"),
    [
        (UNetConfig(widths=(4, 8, 16)), 4),
        (UNetConfig(widths=(4, 8, 16), full_resolution=True), 2),
        (DynUNetConfig(), 32),
        (SegResNetConfig(), 8),
        (SegResNetConfig(blocks_down=(1, 1), blocks_up=(1,)), 2),
        (AttentionUNetConfig(widths=(4, 8)), 2),
        (SwinUNETRConfig(), 32),
    ],
)
def test_the_divisor_follows_from_the_levels(network, divisor):
    assert network.divisor == divisor


def test_the_divisor_is_for_each_network_to_say():
    with pytest.raises(NotImplementedError):
        _ = NetworkSection(name="none").divisor


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ('"12:00:00"', 43_200),
        ("12:00:00", 43_200),  # YAML 1.1 itself reads this as a number to the base of 60
        ('"00:28:00"', 1_680),
        ("00:28:00", 1_680),
        ('"28:30"', 1_710),
        ("28:30", 1_710),
        ("1-12:00:00", 129_600),
        ("90", 90),
        ("null", None),
    ],
)
def test_times_are_written_as_slurm_writes_them(minimal_yaml, written, seconds):
    result = load_config(minimal_yaml, [f"training.max_time={written}"])

    assert result.training.max_time == seconds


@pytest.mark.parametrize("section", ["training", "inference"])
@pytest.mark.parametrize("written", ["32", '"32"'])
def test_a_precision_of_32_needs_no_quotes(minimal_yaml, section, written):
    result = load_config(minimal_yaml, [f"{section}.precision={written}"])

    assert getattr(result, section).precision == "32"


@pytest.mark.parametrize("found", [16, 32.0, True])
def test_a_precision_that_there_is_not_is_told_as_it_was_written(found):
    assert mistakes(inference={"precision": found}) == [
        f"inference.precision: input should be 'auto', '32' or 'bf16', got {found!r}"
    ]


@pytest.mark.parametrize("text", ["soon", "12", "1:2:3:4", "x-1:00:00", "1-", "1-30:00", ""])
def test_what_is_no_time_is_refused(text):
    assert mistakes(training={"max_time": text}) == [
        f"training.max_time: a time is HH:MM:SS or D-HH:MM:SS, got {text!r}"
    ]


def test_a_time_is_longer_than_nothing():
    assert mistakes(training={"max_time": "00:00:00"}) == [
        "training.max_time: input should be greater than 0, got 0"
    ]


def test_overrides_replace_add_and_are_read_as_yaml(minimal_yaml):
    result = load_config(
        minimal_yaml,
        [
            "labels=brats2023",
            "data.fold=null",
            "data.patch_size=[64, 64, 32]",
            "network={name: segresnet, width: 8}",
            "network.dropout=0.2",
            "training.learning_rate=1e-4",
            "training.devices=2",
            "inference.tta=true",
            "data.cache_dir=$TMPDIR/a=b",
        ],
    )

    assert result.labels.name == "brats2023"
    assert result.data.fold is None
    assert result.data.patch_size == (64, 64, 32)
    assert result.network == SegResNetConfig(width=8, dropout=0.2)
    assert result.training.learning_rate == 1e-4
    assert result.training.devices == 2
    assert result.inference.tta is True
    assert result.data.cache_dir == "$TMPDIR/a=b"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("fast", "override 'fast' is not of the form section.key=value"),
        ("=5", "override '=5' is not of the form section.key=value"),
        ("labels.name=x", "override 'labels.name=x': labels is not a section"),
        ("data.patch_size=[1, 2", r"override 'data.patch_size=\[1, 2': .*; give a YAML value$"),
        ("data.fould=1", "data.fould: unknown key; did you mean 'fold'"),
    ],
)
def test_a_bad_override_is_quoted(minimal_yaml, word, message):
    with pytest.raises(ConfigError, match=message):
        load_config(minimal_yaml, [word])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"labels: [1,\n", "is not YAML \\(.* line 2.*\\); correct that line"),
        (b"labels: \xff\xfe", "is not YAML \\(.*utf-8.*\\); correct that line"),
        (b"", "holds no options; see configs/ for examples"),
        (b"- a\n- b\n", r"holds no options, but \['a', 'b'\]; see"),
    ],
)
def test_a_file_that_holds_no_config_is_refused(tmp_path, content, message):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read \(No such file"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"labels": CUSTOM},
        {"network": {"name": "dynunet", "residual": True}},
        {"network": {"name": "swin_unetr", "depths": [1, 1, 1, 1]}},
        {"data": {"data_root": "/scans", "fold": None, "workers": 2, "patch_size": [64, 64]}},
        {"training": {"max_time": "1-00:00:00", "devices": 4}},
        {"inference": {"min_component_mm3": {"ET": 30.0}, "window_size": [160, 160, 160]}},
    ],
)
def test_what_is_written_is_read_back(tmp_path, sections):
    original = config(**sections)

    write_config(tmp_path / "config.yaml", original)

    assert load_config(tmp_path / "config.yaml") == original
    assert ExperimentConfig.from_dict(original.to_dict()) == original


def test_the_written_config_states_every_option_in_plain_words():
    plain = config().to_dict()

    assert plain["labels"] == "brats2021"
    assert plain["network"]["widths"] == [32, 64, 128, 256, 320]
    assert plain["training"]["optimizer"] == "adamw"
    assert set(plain) == set(ExperimentConfig.model_fields)


def test_a_custom_scheme_is_written_out_even_under_the_name_of_a_shipped_one():
    own = CUSTOM | {"name": "msd"}

    assert config(labels=own).to_dict()["labels"] == own


def test_an_alias_is_saved_under_the_name_of_its_scheme():
    assert config(labels="brats2019").to_dict()["labels"] == "brats2021"


def test_labels_may_be_a_scheme_already():
    scheme = LabelScheme("liver", {1: "liver"}, {"liver": (1,)})

    assert config(labels=scheme).labels is scheme


def test_a_custom_scheme_gives_its_regions(tmp_path):
    path = tmp_path / "custom.yaml"
    path.write_text(
        "labels:\n"
        "  labels: {1: liver, 2: lesion}\n"
        "  regions: {liver: [1, 2], lesion: [2]}\n"
        "data: {data_list: list.json}\n",
        encoding="utf-8",
    )

    scheme = load_config(path).labels

    assert scheme.name == "custom"
    masks = scheme.masks(np.array([0, 1, 2]))
    assert [mask.tolist() for mask in masks.values()] == [[False, True, True], [False, False, True]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "labels: give the name of a label scheme, or its labels and regions, got None"),
        (
            {"labels": {1: "a"}},
            "a custom label scheme has the keys labels, regions and optionally name",
        ),
        ({"name": "x", "labels": {1: "a"}}, "a custom label scheme has the keys labels, regions"),
        (CUSTOM | {"colour": 1}, "a custom label scheme has the keys labels, regions"),
        (CUSTOM | {"labels": {"one": "a"}}, "labels maps integers to names, regions maps"),
        (CUSTOM | {"labels": [1]}, "labels maps integers to names"),
        (CUSTOM | {"regions": {"A": 1}}, "labels maps integers to names"),
        (CUSTOM | {"regions": {"liver": [1, 3]}}, r"region 'liver' .* holds \[3\]"),
        (CUSTOM | {"regions": {}}, "label scheme 'liver' has no regions"),
    ],
)
def test_a_custom_scheme_that_says_too_little_is_refused(labels, message):
    with pytest.raises(ConfigError, match=message):
        config(labels=labels)


def numbers(section, place=()):
    """Place of every option of a section, and of those in it, that is a number and no switch."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from numbers(field.annotation, (*place, name))
        elif re.search(r"\b(int|float)\b", str(field.annotation)):
            yield (*place, name)


@pytest.mark.parametrize(
    "place",
    [
        *numbers(ExperimentConfig),
        *((network, *place) for network, of in NETWORKS.items() for place in numbers(of)),
    ],
    ids=".".join,
)
def test_true_is_no_number(place):
    options = {}
    if place[0] in NETWORKS:
        place, options = ("network", *place[1:]), {"network": {"name": place[0]}}
    *sections, last = place
    inner = options
    for name in sections:
        inner = inner.setdefault(name, {})
    for value in (True, [True] * 3, {"WT": True}):
        inner[last] = value

        assert any(line.startswith(".".join(place)) for line in mistakes(**options)), value


@pytest.mark.parametrize(
    ("labels", "regions"),
    [({True: "a"}, {"WT": [1]}), ({1.5: "a"}, {"WT": [1]}), ({1: "a"}, {"WT": [1.0]})],
)
def test_labels_are_integers(labels, regions):
    (line,) = mistakes(labels={"labels": labels, "regions": regions})

    assert line.startswith("labels: labels maps integers to names, regions maps names to lists of")


def test_messages_stay_short_whatever_a_file_holds(tmp_path):
    path = tmp_path / "list.yaml"
    entries = [{"case_id": f"case_{i}", "image": ["a" * 500] * 4} for i in range(1000)]
    for content in (
        {"labels": entries, "data": entries},
        {f"key{i}" * 100: entries for i in range(50)},
        {"data": {"data_list": "x", "patch_size": ["a"] * 1000, "channels": ["b" * 9000] * 2}},
        entries,
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(ConfigError) as caught:
            load_config(path)

        lines = str(caught.value).splitlines()
        assert len(lines) <= 12
        assert max(map(len, lines)) < 700


def test_segnet_needs_the_convolutions_of_each_level():
    with pytest.raises(ValidationError, match="convolutions needs 2 numbers, one for each"):
        SegNetConfig(widths=(8, 16), convolutions=(2, 2, 2))


def test_a_width_is_for_a_resnet_and_each_network_has_an_example():
    with pytest.raises(ValidationError, match="encoder_width is for a resnet, but encoder is eff"):
        NETWORKS["pspnet"](encoder="efficientnet-b0", encoder_width=8)
    with pytest.raises(NotImplementedError):
        NetworkSection.example()


def test_a_data_list_is_no_config_and_its_place_is_said(tmp_path):
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"name": "a", "training": [{"image": ["a.nii.gz"], "fold": 0}]}))

    said = f"{path} is a data list, but .*; name .*: volseg fit CONFIG data.data_list={path}"
    with pytest.raises(ConfigError, match=said):
        load_config(path)
