"""Shares of channels: Shapley values by hand and of captum, and what they must add up to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import ShapleyValues
from tiny_models import OF_SLICES, write_model
from tiny_scans import SUFFIXES, write_case

from volseg.attribution.channel_shares import channel_shares
from volseg.attribution.region_means import RegionMeans
from volseg.attribution.target import Target
from volseg.errors import AttributionError
from volseg.inference.predictor import Predictor

CPU = torch.device("cpu")
BOX = np.s_[4:9, 4:9, 4:7]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_case(tmp_path_factory.mktemp("scans"))


def targets_in(predictor, prepared, regions, box=BOX):
    """Targets of one mask for several regions, of the first model."""
    model = predictor.models[0]
    mask = np.zeros(prepared.grid.shape, bool)
    mask[box] = True
    image = prepared.images[model.config.preprocessing]
    return [Target.of(model, region, image, mask, CPU) for region in regions]


def shares_in(predictor, prepared, regions, box=BOX):
    mask = np.zeros(prepared.grid.shape, bool)
    mask[box] = True
    return channel_shares(prepared, predictor.models, dict.fromkeys(regions, mask), CPU)


@pytest.mark.parametrize("sections", [{}, OF_SLICES])
def test_they_are_the_shapley_values_of_captum(tmp_path, folder, sections):
    predictor = Predictor(write_model(tmp_path / "m.safetensors", **sections), device="cpu")
    prepared = predictor.prepare(folder)
    (target,) = targets_in(predictor, prepared, ["WT"])
    means = RegionMeans([target])
    features = torch.arange(len(predictor.channels))[None, :, None, None, None]

    found = shares_in(predictor, prepared, predictor.regions)

    one_by_one = ShapleyValues(lambda batch: torch.tensor([means.of(one)[0] for one in batch]))
    expected = one_by_one.attribute(target.image[None], baselines=0.0, feature_mask=features)
    assert list(found) == list(predictor.regions)
    assert list(found["WT"].values) == list(predictor.channels)
    assert list(found["WT"].values.values()) == pytest.approx(
        expected[0, :, 0, 0, 0].tolist(), abs=1e-7
    )


def test_they_add_up_to_what_all_channels_change(tmp_path, folder):
    predictor = Predictor(write_model(tmp_path / "m.safetensors"), device="cpu")

    for found in shares_in(predictor, predictor.prepare(folder), predictor.regions).values():
        assert sum(found.values.values()) == pytest.approx(
            found.with_all - found.with_none, abs=1e-12
        )
        assert abs(found.with_all - found.with_none) > 1e-4
        assert sum(found.shares.values()) == pytest.approx(1)


def test_a_channel_whose_weights_are_0_gets_exactly_0(tmp_path, folder):
    predictor = Predictor(write_model(tmp_path / "m.safetensors"), device="cpu")
    network = predictor.models[0].network
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 5 and weight.shape[1] == len(predictor.channels):
                weight[:, 2] = 0

    found = shares_in(predictor, predictor.prepare(folder), ["WT"])["WT"]

    assert found.values["t2w"] == 0
    assert found.shares["t2w"] == 0
    assert all(value for channel, value in found.values.items() if channel != "t2w")


def test_a_missing_channel_gets_0_and_takes_no_passes(tmp_path, folder):
    data = {"data_list": "l", "patch_size": [16, 16, 16], "channel_dropout": 0.5}
    predictor = Predictor(write_model(tmp_path / "m.safetensors", data=data), device="cpu")
    files = {name: next(folder.glob(f"*_{of}.nii.gz")) for name, of in SUFFIXES.items()}
    del files["t1n"]

    found = shares_in(predictor, predictor.prepare(files), ["WT"])["WT"]

    assert list(found.values) == ["t1n", "t1c", "t2w", "t2f"]
    assert found.values["t1n"] == 0
    assert sum(found.values.values()) == pytest.approx(found.with_all - found.with_none, abs=1e-12)


def test_a_channel_that_fills_others_in_has_their_share_too(tmp_path, folder):
    predictor = Predictor(write_model(tmp_path / "m.safetensors", **OF_SLICES), device="cpu")
    prepared = predictor.prepare({"t2f": next(folder.glob("*_flair.nii.gz"))})

    found = shares_in(predictor, prepared, ["WT"])["WT"]

    assert prepared.missing == ("t1n", "t1c")
    assert found.values["t1n"] == found.values["t1c"] == 0
    assert found.values["t2f"] == found.with_all - found.with_none != 0


def test_shares_of_two_models_are_means(tmp_path, folder):
    paths = [write_model(tmp_path / f"{seed}.safetensors", seed=seed) for seed in range(2)]
    together = Predictor(paths, device="cpu")
    alone = [Predictor(path, device="cpu") for path in paths]

    found = shares_in(together, together.prepare(folder), ["ET"])["ET"]

    parts = [shares_in(one, one.prepare(folder), ["ET"])["ET"] for one in alone]
    for channel, value in found.values.items():
        mean = np.mean([part.values[channel] for part in parts])
        assert value == pytest.approx(mean, abs=1e-12)


def test_more_than_8_channels_are_refused(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("volseg.attribution.channel_shares.MOST_CHANNELS", 3)
    predictor = Predictor(write_model(tmp_path / "m.safetensors"), device="cpu")

    with pytest.raises(AttributionError, match=r"has 4 channels, but the shares of at most 3"):
        shares_in(predictor, predictor.prepare(folder), ["WT"])
