"""Every network keeps the one contract, in 2D and in 3D."""

from __future__ import annotations

import copy
import math
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from volseg.config import ExperimentConfig
from volseg.config.networks import NETWORKS
from volseg.config.networks.attention_unet import AttentionUNetConfig
from volseg.config.networks.deeplabv3plus import DeepLabV3PlusConfig
from volseg.config.networks.dynunet import DynUNetConfig
from volseg.config.networks.pspnet import PSPNetConfig
from volseg.config.networks.segnet import SegNetConfig
from volseg.config.networks.segresnet import SegResNetConfig
from volseg.config.networks.swin_unetr import SwinUNETRConfig
from volseg.config.networks.unet import UNetConfig
from volseg.errors import ConfigError, ResourceError
from volseg.model_file import load_model, save_model
from volseg.networks import FOREGROUND_PRIOR, build_network, dynunet, network_forms
from volseg.networks.weights import forms_of

CHANNELS, REGIONS = 2, 3
SMALL = {name: section.example() for name, section in NETWORKS.items()}
OTHER_OPTIONS = {
    "unet without residual units": UNetConfig(widths=(4, 6), residual_units=0, dropout=0.1),
    "unet at full resolution": UNetConfig(widths=(4, 6, 8), full_resolution=True),
    "dynunet with residual blocks": DynUNetConfig(widths=(4, 6, 8), residual=True, dropout=0.1),
    "segresnet with dropout": SegResNetConfig(width=8, dropout=0.1),
    "attention_unet with dropout": AttentionUNetConfig(widths=(4, 6), dropout=0.1),
    "swin_unetr with checkpointing": SwinUNETRConfig(
        width=12, depths=(1, 1, 1, 1), dropout=0.1, checkpointing=True
    ),
    "attention_unet normalised by image": AttentionUNetConfig(widths=(4, 6), norm="instance"),
    "segnet normalised by image": SegNetConfig(widths=(4, 6), convolutions=(1, 1), norm="instance"),
    "deeplabv3plus normalised by image": DeepLabV3PlusConfig(
        encoder="resnet10", encoder_width=4, rates=(1,), width=8, norm="instance", dropout=0
    ),
    "pspnet normalised by image": PSPNetConfig(
        encoder="resnet10", encoder_width=4, width=8, norm="instance", dropout=0
    ),
    "segnet with dropout": SegNetConfig(widths=(4, 6), convolutions=(1, 1), dropout=0.1),
    "deeplabv3plus on an efficientnet": DeepLabV3PlusConfig(
        encoder="efficientnet-b0", rates=(1,), width=8, output_stride=8
    ),
    "deeplabv3plus with full convolutions": DeepLabV3PlusConfig(
        encoder="resnet18", encoder_width=4, rates=(1,), width=8, separable=False, dropout=0
    ),
    "pspnet on an efficientnet": PSPNetConfig(encoder="efficientnet-b0", width=8),
    "pspnet with bottlenecks and a single bin": PSPNetConfig(
        encoder="resnet50", encoder_width=4, width=8, bins=(1,), output_stride=16, dropout=0
    ),
}


def build(config, dims: int):
    """A network and the smallest image that it takes: one side is twice the divisor.

    With all sides equal to it, one voxel would be left, and of that no layer can tell the spread.
    """
    if config.name == "swin_unetr":
        pytest.importorskip("einops", reason="swin_unetr needs volseg[transformer]")
    size = (2 * config.divisor, *[config.divisor] * (dims - 1))
    torch.manual_seed(0)
    return build_network(config, CHANNELS, REGIONS, size), torch.randn(1, CHANNELS, *size)


@pytest.fixture(
    scope="module",
    params=[(name, dims) for name in NETWORKS for dims in (2, 3)],
    ids=lambda param: f"{param[0]}-{param[1]}D",
)
def case(request):
    name, dims = request.param
    return build(SMALL[name], dims)


def train_step(network, image) -> list[torch.Tensor]:
    """The heads of a forward pass, after a backward one."""
    network.train()
    output = network(image)
    heads = output if isinstance(output, list) else [output]
    sum(head.square().mean() for head in heads).backward()
    return heads


def test_logits_have_the_shape_of_the_image_in_training_and_evaluation(case):
    network, image = case

    finest, *coarser = train_step(network, image)
    with torch.no_grad():
        evaluated = network.eval()(image)

    assert finest.shape == evaluated.shape == (1, REGIONS, *image.shape[2:])
    assert len(coarser) == (2 if isinstance(network, dynunet.DeepDynUNet) else 0)
    for level, head in enumerate(coarser, start=1):
        assert head.shape == (1, REGIONS, *(side // 2**level for side in image.shape[2:]))


def test_the_divisor_is_no_smaller_than_it_says(case):
    network, image = case
    if network.divisor == 1:
        pytest.skip("it takes every size")
    side = network.divisor * 3 // 2
    image = torch.zeros(1, CHANNELS, *[side] * (image.ndim - 2))

    with pytest.raises((RuntimeError, ValueError)):
        network.eval()(image)


def test_a_batch_with_odd_multiples_of_the_divisor_as_sides_is_taken(case):
    network, image = case
    sides = (3 * network.divisor, *image.shape[3:])

    heads = train_step(network, torch.randn(2, CHANNELS, *sides))

    assert heads[0].shape == (2, REGIONS, *sides)


def test_in_evaluation_an_image_is_alone_in_its_batch(case):
    network, image = case
    network.eval()

    with torch.no_grad():
        both = network(torch.cat([image, image.flip(2)]))

        torch.testing.assert_close(both[:1], network(image), atol=1e-4, rtol=1e-4)


def test_a_gradient_reaches_every_parameter(case):
    network, image = case
    network.zero_grad()

    # Of two voxels, batch norm makes -1 and 1, whatever they were.
    train_step(network, torch.cat([image, image.roll(1, dims=2).square()]))

    for name, weights in network.named_parameters():
        assert weights.grad is not None, f"no gradient reaches {name}"
        assert weights.grad.isfinite().all(), f"the gradient of {name} is not finite"
        # A bias before a normalisation has no effect, so its gradient may be zero.
        assert weights.ndim == 1 or weights.grad.any(), f"the gradient of {name} is zero"


def test_no_sigmoid_is_inside(case):
    network, image = case

    with torch.no_grad():
        logits = network.eval()(image)

    assert logits.min() < 0


def test_every_region_starts_at_the_foreground_prior(case):
    network, _ = case

    biases = [weights for weights in network.parameters() if weights.shape == (REGIONS,)]

    assert any(torch.allclose(bias.sigmoid(), torch.tensor(FOREGROUND_PRIOR)) for bias in biases)


def test_a_state_dict_carries_the_network_into_another(case):
    network, image = case
    other = copy.deepcopy(network)
    for weights in other.parameters():
        nn.init.normal_(weights)

    other.load_state_dict(network.state_dict())

    with torch.no_grad():
        assert torch.equal(other.eval()(image), network.eval()(image))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_model_file_carries_the_network(name, tmp_path):
    network, image = build(SMALL[name], dims=2)
    train_step(network, image)  # moves the statistics of batch norm
    config = ExperimentConfig.from_dict(
        {
            "labels": "brats2021",
            "data": {
                "data_list": "list.json",
                "channels": ["t1c", "t2f"],
                "patch_size": list(image.shape[2:]),
            },
            "network": SMALL[name].model_dump(),
        }
    )

    save_model(tmp_path / "model.safetensors", network.state_dict(), config, {})
    model = load_model(tmp_path)

    assert model.config.network == SMALL[name]
    with torch.no_grad():
        assert torch.equal(model.network(image), network.eval()(image))


@pytest.mark.parametrize("name", OTHER_OPTIONS)
def test_every_option_builds_a_network_that_learns(name):
    network, image = build(OTHER_OPTIONS[name], dims=2)

    heads = train_step(network, image)

    assert heads[0].shape == (1, REGIONS, *image.shape[2:])
    assert all(weights.grad is not None for weights in network.parameters())


def test_dynunet_without_deep_supervision_gives_one_tensor_in_training():
    network, image = build(DynUNetConfig(widths=(4, 6, 8), deep_supervision=False), dims=3)

    assert network.training
    assert isinstance(network(image), torch.Tensor)


def test_the_heads_of_dynunet_are_those_of_monai():
    network, image = build(SMALL["dynunet"], dims=3)

    heads = network(image)
    stacked = super(type(network), network).forward(image)

    assert stacked.shape[1] == len(heads) == 3
    for head, reference in zip(heads, stacked.unbind(dim=1), strict=True):
        assert torch.equal(F.interpolate(head, size=image.shape[2:]), reference)


@pytest.mark.parametrize("train", [True, False])
def test_dynunet_keeps_no_output_after_a_forward_pass(train):
    network, image = build(SMALL["dynunet"], dims=2)

    network.train(train)(image)

    assert all(head.numel() == 0 for head in network.heads)


def test_every_head_of_dynunet_starts_at_the_foreground_prior():
    network, _ = build(SMALL["dynunet"], dims=2)
    logit = math.log(FOREGROUND_PRIOR / (1 - FOREGROUND_PRIOR))

    for head in (network.output_block, *network.deep_supervision_heads):
        torch.testing.assert_close(head.conv.conv.bias, torch.full((REGIONS,), logit))


def test_swin_unetr_without_einops_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "einops", None)

    with pytest.raises(ConfigError, match=r"swin_unetr needs einops; pip install 'volseg\[transf"):
        build_network(SwinUNETRConfig(width=12), CHANNELS, REGIONS, (32, 64))


def test_the_number_of_channels_and_regions_is_free():
    network = build_network(SMALL["unet"], 1, 5, (16, 16))

    assert network(torch.zeros(1, 1, 16, 16)).shape == (1, 5, 16, 16)


@pytest.mark.parametrize("name", [name for name in OTHER_OPTIONS if "by image" in name])
def test_an_image_normalised_by_itself_is_segmented_alike_in_any_batch(name):
    network, _ = build(OTHER_OPTIONS[name], 2)
    images = torch.randn(2, CHANNELS, 32, 32) * torch.tensor([1.0, 5.0]).reshape(2, 1, 1, 1)

    together, alone = network.train()(images)[:1], network(images[:1])

    assert torch.allclose(together, alone, atol=1e-4)
    assert not any(isinstance(m, nn.BatchNorm2d | nn.BatchNorm3d) for m in network.modules())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dims", [2, 3])
def test_forms_are_those_of_the_network_and_draw_no_random_number(name, dims):
    size = (32, 64, 64)[:dims]
    state = torch.get_rng_state()

    forms = network_forms(SMALL[name], CHANNELS, REGIONS, size)

    assert torch.equal(torch.get_rng_state(), state)
    network = build_network(SMALL[name], CHANNELS, REGIONS, size)
    assert forms == forms_of(network.state_dict())
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    assert sum(form.nbytes for form in forms.values()) == weights


def test_a_network_that_memory_cannot_hold_is_refused_before_it_is_built(monkeypatch):
    # On a machine that has them, too.
    monkeypatch.setattr("volseg.memory.available", lambda: 100 * 10**9)
    wide = UNetConfig(widths=(20_000, 40_000))

    with pytest.raises(ResourceError, match=r"unet with 76,410 million weights would take 306 GB"):
        build_network(wide, 4, 3, (64, 64, 64))


@pytest.mark.parametrize(
    "options",
    [
        {"name": "unet", "widths": [10**9, 8]},
        {"name": "unet", "widths": [8] * 1000},
        {"name": "unet", "residual_units": 10**9},
        {"name": "dynunet", "widths": [8] * 17},
        {"name": "segresnet", "blocks_down": [1, 10**9], "blocks_up": [1]},
        {"name": "swin_unetr", "depths": [10**9, 1, 1, 1]},
        {"name": "segnet", "widths": [8, 8], "convolutions": [1, 10**9]},
        {"name": "deeplabv3plus", "rates": [10**9]},
        {"name": "pspnet", "bins": [10**9]},
    ],
)
def test_a_number_that_no_network_has_is_refused(options):
    data = {"data_list": "list.json", "patch_size": [64, 64]}

    with pytest.raises(ConfigError, match=r"network\.\w+"):
        ExperimentConfig.from_dict({"labels": "brats2021", "data": data, "network": options})
