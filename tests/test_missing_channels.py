"""Cases without some channels: channel dropout in training, and its models in `infer`."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from experiments import write_small_config

from volseg.cases.data_list import read_data_list
from volseg.config import AugmentationConfig, ExperimentConfig, idle_options, load_config
from volseg.errors import ConfigError
from volseg.training.cache.cases import build_cache
from volseg.training.datamodule import PatchDataset
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
