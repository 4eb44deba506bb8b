"""Windows whose number nobody would wait for are refused before they are segmented."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from tiny_models import tiny_config, write_model
from torch import nn

from volseg.config import ExperimentConfig
from volseg.errors import ConfigError
from volseg.inference.predictor import Predictor
from volseg.inference.windows import segment


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model.safetensors")


def test_an_overlap_of_a_million_windows_a_voxel_is_refused(model):
    said = r"overlap is 0\.99; it must be at least 0 and at most 0\.9, since a voxel of a volume "
    said += r"would lie in 1,000,000 windows, and in 8 at 0\.5"

    with pytest.raises(ConfigError, match=said):
        Predictor(model, "cpu", overlap=0.99)
    with pytest.raises(ConfigError, match=said):
        Predictor(model, "cpu", overrides=["inference.overlap=0.99"])
    with pytest.raises(ConfigError, match=said):
        ExperimentConfig.from_dict(
            tiny_config((8, 8, 8)).to_dict() | {"inference": {"overlap": 0.99}}
        )


@pytest.mark.parametrize(
    ("options", "times"),
    [({"overlap": 0.75}, "8"), ({"overrides": ["inference.overlap=0.9"]}, "125"), ({}, None)],
)
def test_a_slow_overlap_is_warned_of(model, caplog, options, times):
    with caplog.at_level(logging.WARNING):
        Predictor(model, "cpu", **options).warn()

    said = f"take {times} times as long as at an overlap of 0.5"
    assert (said in caplog.text) == (times is not None)
    assert ("times as long" in caplog.text) == (times is not None)


def test_windows_too_small_for_their_image_are_refused_before_any_is_segmented():
    config = tiny_config((8, 8, 8), inference={"window_size": [4, 4, 4]})
    image = np.zeros((4, 100, 100, 100), np.float32)

    with pytest.raises(ConfigError, match=r"117,649 windows of \[4, 4, 4\] voxels would cover"):
        segment(nn.Identity(), image, config, device="cpu")  # the network is not called
