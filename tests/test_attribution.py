"""Explanations of predictions: targets, windows, and methods that use gradients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from monai.visualize import GradCAM
from tiny_models import OF_SLICES, tiny_config, write_model
from tiny_scans import write_case
from torch import nn

from volseg.attribution import target as target_module
from volseg.attribution.baseline import dark_image
from volseg.attribution.explaining import PredictedCase, explain_region
from volseg.attribution.grad_cam import grad_cam
from volseg.attribution.gradients import integrated_gradients, saliency, smooth_grad
from volseg.attribution.methods import ExplainOptions
from volseg.attribution.target import Target
from volseg.errors import AttributionError, ConfigError, ModelError
from volseg.inference.predictor import Predictor
from volseg.model_file import Model

OPTIONS = ExplainOptions("saliency")
# Logits of WT, TC and ET from t1n, t1c, t2w and t2f: nothing depends on t2w.
WEIGHTS = torch.tensor([[0.5, -1.0, 0.0, 2.0], [3.0, 0.25, 0.0, -4.0], [1.0, 1.0, 0.0, 1.0]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_case(tmp_path_factory.mktemp("scans"))


@pytest.fixture(scope="module")
def predictor(tmp_path_factory, folder):
    return predictor_of(write_model(tmp_path_factory.mktemp("m") / "m.safetensors"), folder)


def predictor_of(path, folder):
    """A predictor that finds the first region in half of the brain."""
    values = next(iter(Predictor(path, device="cpu").predict(folder).probabilities.values()))
    return Predictor(path, device="cpu", threshold=float(np.median(values[values > 0])))


def predicted_case(predictor, folder):
    return PredictedCase.of(predictor.prepare(folder), predictor.models, predictor.device)


def target_of(network, shape, window, region="TC", **inference):
    """A target of random grey values, of which every third voxel is explained."""
    torch.manual_seed(0)
    config = tiny_config(window, inference=inference)
    model = Model(network.eval(), config, {}, "0", "0", Path("m.safetensors"))
    mask = (np.arange(np.prod(shape)) % 3 == 0).reshape(shape)
    image = torch.randn(4, *shape)
    return Target(model, region, image, np.ones(shape, np.bool_), mask, torch.device("cpu"))


def linear_network(dims):
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dims](4, 3, 1)
    with torch.no_grad():
        convolution.weight.copy_(WEIGHTS.reshape(convolution.weight.shape))
    return convolution


def curved_network(dims):
    kind = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
    torch.manual_seed(1)
    return nn.Sequential(nn.Sequential(kind(4, 5, 3, padding=1), nn.Softplus()), kind(5, 3, 1))


def blended_logits(target, image):
    """The explained number by MONAI's sliding window, as inference joins probabilities."""
    config = target.model.config
    batch = image.permute(3, 0, 1, 2) if config.by_slice else image[None]
    logits = sliding_window_inference(
        batch,
        config.window_size,
        2,
        target.model.network,
        overlap=config.inference.overlap,
        mode=config.inference.blending,
    )[:, 1]
    mask = torch.from_numpy(target.mask)
    return logits[mask.permute(2, 0, 1) if config.by_slice else mask[None]].sum()


# Windows overlap along the first axis, and are larger than the image along the second.
SHAPES = [((14, 5, 8), (8, 8, 8)), ((14, 5, 3), (8, 8))]


@pytest.mark.parametrize(("shape", "window"), SHAPES)
@pytest.mark.parametrize("method", [saliency, smooth_grad])
def test_the_gradient_of_a_linear_network_is_its_weights(method, shape, window):
    target = target_of(linear_network(len(window)), shape, window)

    maps = method(target, ExplainOptions("smooth-grad", samples=2))

    expected = abs(WEIGHTS[1].numpy())[:, None, None, None] * target.mask
    np.testing.assert_allclose(maps, expected, rtol=1e-5)
    assert not maps[2].any()


@pytest.mark.parametrize(("shape", "window"), SHAPES)
def test_integrated_gradients_of_a_linear_network_are_weight_times_change(shape, window):
    target = target_of(linear_network(len(window)), shape, window)

    maps = integrated_gradients(target, ExplainOptions("integrated-gradients", steps=2))

    change = (target.image - dark_image(target)).numpy()
    expected = WEIGHTS[1].numpy()[:, None, None, None] * change * target.mask
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-6)
    assert not maps[2].any()


@pytest.mark.parametrize("blending", ["gaussian", "constant"])
@pytest.mark.parametrize(("shape", "window"), SHAPES)
def test_the_gradient_is_that_of_logits_joined_by_monai(shape, window, blending):
    target = target_of(curved_network(len(window)), shape, window, blending=blending)
    image = target.image.clone().requires_grad_()
    value = blended_logits(target, image)

    (expected,) = torch.autograd.grad(value, image)

    np.testing.assert_allclose(saliency(target, OPTIONS), abs(expected), rtol=1e-3, atol=1e-6)
    assert target.value() == pytest.approx(value.item(), rel=1e-5)


def normalised_network(dims):
    """Contrast does not change its logits."""
    network = curved_network(dims)
    network[0].insert(1, {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dims](5))
    return network


@pytest.mark.parametrize("network", [curved_network, normalised_network])
@pytest.mark.parametrize(("shape", "window"), SHAPES)
def test_integrated_gradients_add_up_to_the_change_of_the_logits(network, shape, window):
    target = target_of(network(len(window)), shape, window)

    maps = integrated_gradients(target, ExplainOptions("integrated-gradients", steps=32))

    change = target.value() - target.value(dark_image(target))
    assert maps.sum() == pytest.approx(change, rel=1e-3)


def test_grad_cam_of_two_layers_is_what_a_hand_computes():
    network = nn.Sequential(
        nn.Sequential(nn.Conv3d(4, 2, 1, bias=False), nn.ReLU()), nn.Conv3d(2, 3, 1)
    )
    with torch.no_grad():
        # Features are the positive parts of t1n and of twice t1n.
        network[0][0].weight.copy_(
            torch.tensor([[1.0, 0, 0, 0], [2, 0, 0, 0]]).reshape(2, 4, 1, 1, 1)
        )
        network[1].weight[1] = torch.tensor([3.0, -1.0]).reshape(2, 1, 1, 1)
    target = target_of(network, (4, 4, 4), (4, 4, 4))

    (cam,) = grad_cam(target, ExplainOptions("grad-cam"))

    # Of 64 voxels, 22 are explained. Mean gradients are 3 and -1 times 22 / 64, so that the map is
    # (3 * t1n - 2 * t1n) * 22 / 64 where t1n is positive.
    np.testing.assert_allclose(cam, target.image[0].clamp(min=0) * 22 / 64, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # MONAI's
def test_grad_cam_is_that_of_monai():
    target = target_of(curved_network(3), (8, 8, 8), (8, 8, 8))
    mask = torch.from_numpy(target.mask)

    class Classifier(nn.Module):
        """One number a region: the sum of its logits over the mask."""

        def __init__(self):
            super().__init__()
            self.network = target.model.network

        def forward(self, image):
            return (self.network(image) * mask).flatten(2).sum(2)

    expected = GradCAM(Classifier(), "network.0").compute_map(target.image[None], class_idx=1)

    cam = grad_cam(target, ExplainOptions("grad-cam", layer="0"))
    assert expected.any()
    np.testing.assert_allclose(cam, expected[0].detach(), rtol=1e-4, atol=1e-7)


def test_noise_is_the_same_in_each_call_and_for_any_number_of_windows_in_a_pass(monkeypatch):
    target = target_of(curved_network(2), (14, 5, 3), (8, 8))
    options = ExplainOptions("smooth-grad", samples=3)
    first = smooth_grad(target, options)

    assert np.array_equal(smooth_grad(target, options), first)
    monkeypatch.setattr(target_module, "_SLICES_A_PASS", 1)
    np.testing.assert_allclose(smooth_grad(target, options), first, rtol=1e-5)


def test_a_gradient_that_is_no_number_is_refused():
    class Root(nn.Module):
        """Its gradient at 0 is infinite."""

        def forward(self, image):
            return image[:, :3].abs().sqrt()

    target = target_of(Root(), (4, 4, 4), (4, 4, 4))
    target.image[1, 0, 0, 0] = 0

    with pytest.raises(ModelError, match=r"m\.safetensors gives gradients that are no numbers"):
        saliency(target, OPTIONS)


@pytest.mark.parametrize("sections", [{}, OF_SLICES])
def test_saliency_of_a_model_of_volumes_or_slices_lies_in_the_brain(tmp_path, folder, sections):
    predictor = predictor_of(write_model(tmp_path / "m.safetensors", **sections), folder)
    prepared = predictor.prepare(folder)
    region = predictor.regions[0]

    predicted = PredictedCase.of(prepared, predictor.models, predictor.device)
    found = explain_region(predicted, region, OPTIONS)

    prediction = predictor.predict_prepared(prepared)
    probability = prediction.probabilities[region]
    assert found.map.shape == prediction.label_map.shape
    assert (found.map.min(), found.map.max()) == (0, 1)
    assert not found.map[probability == 0].any()
    assert sum(found.by_channel.values()) == pytest.approx(1)
    mask = prediction.scheme.masks(prediction.label_map)[region]
    assert found.target_voxels == np.count_nonzero(mask)


@pytest.mark.parametrize("method", ["grad-cam", "integrated-gradients"])
def test_the_map_of_an_ensemble_is_the_mean_of_its_models(tmp_path, folder, method):
    paths = [write_model(tmp_path / f"{seed}.safetensors", seed=seed) for seed in (1, 2)]
    predictor = Predictor(paths, device="cpu", threshold=0.005)
    both = predicted_case(predictor, folder)
    options = ExplainOptions(method, steps=2)

    def unscaled(case):
        found = explain_region(case, "WT", options)
        return found.map * found.scale

    expected = [unscaled(replace(both, models=(model,))) for model in both.models]
    np.testing.assert_allclose(unscaled(both), sum(expected) / 2, rtol=1e-4, atol=1e-9)


def test_a_region_that_is_not_predicted_is_explained_at_its_maximum_only(predictor, folder):
    strict = Predictor(predictor.models[0].path, device="cpu", threshold=0.99)
    predicted = predicted_case(strict, folder)

    with pytest.raises(AttributionError) as refused:
        explain_region(predicted, "ET", OPTIONS)
    found = explain_region(predicted, "ET", replace(OPTIONS, at_maximum=True))

    highest = predicted.prediction.probabilities["ET"].max()
    assert str(refused.value) == (
        f"case BraTS2021_00001: ET is not predicted, its highest probability is {highest:.2g}; use "
        "--region ET --at-maximum to explain the voxel of this probability"
    )
    assert found.target_voxels == 1
    assert found.map.any()
    assert f"of the highest probability ({highest:.2g})" in found.notes[0]


def test_a_region_or_layer_that_the_model_lacks_is_refused_with_a_list(predictor, folder):
    predicted = predicted_case(predictor, folder)

    with pytest.raises(AttributionError, match="has no region 'CYST'; use one of WT, TC, ET"):
        explain_region(predicted, "CYST", OPTIONS)
    with pytest.raises(AttributionError, match=r"no layer 'x'; use one of model\.0 \(1/2 of"):
        explain_region(predicted, "WT", ExplainOptions(layer="x"))


def test_a_map_of_nothing_says_so(predictor, folder):
    predicted = predicted_case(predictor, folder)
    model = replace(predictor.models[0], network=linear_network(3))
    with torch.no_grad():
        model.network.weight.zero_()

    found = explain_region(replace(predicted, models=(model,)), "WT", OPTIONS)

    assert not found.map.any()
    assert found.by_channel == {}
    assert found.notes == (
        "the map is 0 everywhere: saliency found nothing that the region rests on",
    )


def test_a_layer_whose_features_grad_cam_cannot_weight_is_noted(predictor, folder):
    predicted = predicted_case(predictor, folder)

    found = explain_region(predicted, "WT", ExplainOptions(layer="model.0"))

    assert found.layer == "model.0"
    assert found.notes[0].startswith("Grad-CAM of a layer as fine as model.0 may show a regular")


def test_a_region_smaller_than_a_voxel_of_the_network_is_explained(tmp_path, folder):
    data = {"data_list": "l", "patch_size": [8, 8, 8], "spacing_mm": [2, 2, 2]}
    path = write_model(tmp_path / "m.safetensors", data=data)
    predicted = predicted_case(Predictor(path, device="cpu"), folder)

    found = explain_region(predicted, "WT", replace(OPTIONS, at_maximum=True))

    assert found.target_voxels == 1
    assert found.map.shape == predicted.case.grid.shape
    assert found.map.any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "lime"}, "method is lime; use one of grad-cam, saliency, "),
        ({"method": "saliency", "layer": "a"}, "layer is a, but saliency uses no layer; leave it"),
        ({"samples": 0}, "samples is 0, but at least 1 is expected"),
        ({"noise": 1.5}, "noise is 1.5, but a share above 0, at most 1 is expected"),
    ],
)
def test_options_that_cannot_be_are_refused(options, said):
    with pytest.raises(ConfigError) as refused:
        ExplainOptions(**options)

    assert str(refused.value).replace("'", "").startswith(said)
