"""Every network can be explained, as slices and as volumes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import tiny_config

from volseg.attribution.differentiable import differentiable
from volseg.attribution.explaining import FUNCTIONS
from volseg.attribution.layers import chosen_layer, layers_of
from volseg.attribution.methods import ExplainOptions
from volseg.attribution.target import Target
from volseg.config.networks import NETWORKS
from volseg.errors import AttributionError
from volseg.model_file import Model
from volseg.networks import build_network


@pytest.fixture(
    scope="module",
    params=[(name, dims) for name in NETWORKS for dims in (2, 3)],
    ids=lambda param: f"{param[0]}-{param[1]}d",
)
def target(request):
    """A window of random grey values; half of it is explained."""
    name, dims = request.param
    if name == "swin_unetr" and importlib.util.find_spec("einops") is None:
        pytest.skip("swin_unetr needs einops, of the extra 'transformer'")
    section = NETWORKS[name].example()
    window = [2 * section.divisor] + [section.divisor] * (dims - 1)
    config = tiny_config(window, network=section.model_dump(), **{"labels": "brats2021"})
    torch.manual_seed(0)
    network = build_network(config.network, 4, 3, window).eval()
    shape = (*window, 2)[:3]
    mask = np.zeros(shape, np.bool_)
    mask[: window[0] // 2] = True
    image = torch.rand(4, *shape)
    model = Model(network, config, {}, "0", "0", Path("m.safetensors"))
    return Target(model, "TC", image, np.ones(shape, np.bool_), mask, torch.device("cpu"))


@pytest.mark.parametrize("method", ["grad-cam", "saliency", "integrated-gradients"])
def test_every_network_gives_a_finite_map(target, method):
    options = ExplainOptions(method, steps=1)
    layer = chosen_layer(target.model, None).name if method == "grad-cam" else None

    with differentiable(target.model.network, layer):
        maps = FUNCTIONS[method](target, options)

    assert maps.shape == (1 if layer else 4, *target.mask.shape)
    assert np.isfinite(maps).all()
    assert maps.any() or layer  # a random network may have no feature that adds to the logits


def test_blocks_that_compute_again_do_not_change_a_gradient(target):
    plain = FUNCTIONS["saliency"](target, ExplainOptions("saliency"))
    weights = list(target.model.network.parameters())

    with differentiable(target.model.network):
        again = FUNCTIONS["saliency"](target, ExplainOptions("saliency"))

    np.testing.assert_allclose(again, plain, rtol=1e-4, atol=1e-5 * plain.max())
    assert all(weight.requires_grad for weight in weights)
    assert not any("forward" in vars(module) for module in target.model.network.modules())


def test_layers_are_blocks_whose_features_have_places(target):
    layers = layers_of(target.model)

    assert len(layers) >= 3
    assert all(0 < layer.resolution <= 1 for layer in layers)
    assert all(target.model.network.get_submodule(layer.name) for layer in layers)
    with pytest.raises(
        AttributionError, match=f"has no layer 'conv9'; use one of {layers[0].name}"
    ):
        chosen_layer(target.model, "conv9")
