"""Sanity of all methods: what a map must do if it shows what the network looks at.

A tiny network learns, in seconds, to find balls that are bright in t2f alone; the other channels
hold noise.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from map_sanity import (
    area,
    deletion_curve,
    maps_of,
    near,
    random_order,
    randomised,
    rank_correlation,
    with_network,
)
from tiny_models import tiny_config
from tiny_scans import SUFFIXES

from volseg.attribution.channel_shares import channel_shares
from volseg.attribution.explaining import FUNCTIONS, PredictedCase, explain_region, explained_mask
from volseg.attribution.methods import METHODS, ExplainOptions
from volseg.attribution.target import Target
from volseg.inference.predictor import Predictor
from volseg.model_file import save_model
from volseg.networks import build_network

SHAPE, CENTRE, RADIUS = (28, 26, 22), (18, 10, 12), 4
BY_CHANNEL = ("saliency", "smooth-grad", "integrated-gradients")
#: Correlation of ranks, within 4 voxels of the mask, above which random weights make no difference.
UNCHANGED = 0.6


def ball(shape, centre, radius):
    points = np.indices(shape).T.T - np.reshape(centre, (3, 1, 1, 1))
    return (points**2).sum(axis=0) <= radius**2


def trained_network(config):
    """A network that has seen 80 batches of balls; 80 take about two seconds."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    network = build_network(config.network, 4, 3, config.data.patch_size)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(80):
        image = random.standard_normal((4, 4, 16, 16, 16)).astype(np.float32)
        mask = np.stack([ball((16,) * 3, random.integers(2, 14, 3), RADIUS) for _ in range(4)])
        image[:, config.data.channels.index("t2f")] += 3 * mask
        wanted = torch.from_numpy(mask[:, None].repeat(3, axis=1).astype(np.float32))
        logits = network(torch.from_numpy(image))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    """A scan with a ball, segmented by the network."""
    folder = tmp_path_factory.mktemp("ball")
    config = tiny_config()
    save_model(folder / "m.safetensors", trained_network(config).state_dict(), config, {})
    brain, random = ball(SHAPE, (14, 13, 11), 11), np.random.default_rng(1)
    (folder / "BraTS2021_00001").mkdir()
    for channel, suffix in SUFFIXES.items():
        bright = 3 * ball(SHAPE, CENTRE, RADIUS) if channel == "t2f" else 0
        values = np.where(brain, 100 + 10 * (random.standard_normal(SHAPE) + bright), 0)
        image = nib.Nifti1Image(values.astype(np.float32), np.eye(4))
        nib.save(image, folder / "BraTS2021_00001" / f"BraTS2021_00001_{suffix}.nii.gz")
    predictor = Predictor(folder / "m.safetensors", device="cpu")
    prepared = predictor.prepare(folder / "BraTS2021_00001")
    return PredictedCase.of(prepared, predictor.models, predictor.device)


@pytest.fixture(scope="module")
def target(explained):
    (model,) = explained.models
    mask = explained_mask(explained, "WT", at_maximum=False)
    image = explained.case.images[model.config.preprocessing]
    return Target.of(model, "WT", image, mask, explained.device)


def options_of(method):
    return ExplainOptions(method, samples=4, steps=8)


def map_of(method, target):
    return maps_of(options_of(method), [target])[0]


def test_the_network_has_learned_to_find_the_ball(explained):
    found = explained_mask(explained, "WT", at_maximum=False)
    expected = ball(SHAPE, CENTRE, RADIUS)

    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.8


@pytest.mark.parametrize("method", METHODS)
def test_random_weights_change_the_map(method, target):
    window = torch.zeros(1, 4, 16, 16, 16)
    where = near(target.mask, 4, by_slice=False) & target.tissue
    one = map_of(method, target)

    others = [
        map_of(method, with_network(target, randomised(target.model.network, window, 1, seed)))
        for seed in range(3)
    ]

    found = [rank_correlation(one, other, where) for other in others]
    assert np.mean(found) < UNCHANGED
    assert rank_correlation(one, map_of(method, target), where) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_deletion_in_the_order_of_the_map_lowers_the_probability_faster_than_at_random(
    method, target
):
    found = area(deletion_curve(target, map_of(method, target)))

    voxels = [area(deletion_curve(target, random_order(target, seed))) for seed in range(3)]
    blobs = [area(deletion_curve(target, random_order(target, seed, 2))) for seed in range(3)]
    assert found < 0.9 * min(*voxels, *blobs)


@pytest.mark.parametrize("method", BY_CHANNEL)
def test_gradients_explain_a_tumour_that_shows_in_t2f_alone_by_t2f(method, explained):
    found = explain_region(explained, "WT", options_of(method)).by_channel

    assert sum(found.values()) == pytest.approx(1)
    assert found["t2f"] > 0.5
    assert found["t2f"] > 2 * max(value for name, value in found.items() if name != "t2f")


def test_shapley_values_explain_a_tumour_that_shows_in_t2f_alone_by_t2f(explained):
    mask = explained_mask(explained, "WT", at_maximum=False)

    found = channel_shares(explained.case, explained.models, {"WT": mask}, explained.device)["WT"]
    assert found.shares["t2f"] > 0.9


@pytest.fixture(scope="module")
def blind(target):
    """The target of the network without the weights of t1c."""
    network = copy.deepcopy(target.model.network)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 5 and weight.shape[1] == 4:
                weight[:, 1] = 0
    return with_network(target, network)


@pytest.mark.parametrize("method", BY_CHANNEL)
def test_a_channel_without_weights_gets_nothing(method, blind):
    maps = FUNCTIONS[method](blind, options_of(method))

    assert [bool(one.any()) for one in maps] == [True, False, True, True]


@pytest.mark.parametrize("method", METHODS)
def test_what_a_channel_without_weights_shows_does_not_change_the_map(method, blind):
    image = blind.image.clone()
    image[1] = torch.from_numpy(blind.tissue) * torch.linspace(0, 3, image.shape[-1])

    changed = map_of(method, replace(blind, image=image))

    assert changed == pytest.approx(map_of(method, blind), rel=1e-4, abs=1e-6)
