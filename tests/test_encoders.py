"""Encoders: what dilation changes and what it does not, and weights that come from a file."""

from __future__ import annotations

import logging
import os
import re
from typing import get_args

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from volseg.config import ExperimentConfig
from volseg.config.networks.deeplabv3plus import DeepLabV3PlusConfig
from volseg.config.networks.pspnet import PSPNetConfig
from volseg.errors import ModelError
from volseg.model_file import load_model, save_model
from volseg.networks import build_network, load_encoder_weights
from volseg.networks.encoders import build_encoder

SMALL = {"resnet10": 4, "resnet50": 2, "efficientnet-b0": None}
NAMES = get_args(PSPNetConfig.model_fields["encoder"].annotation)


def network(seed: int, channels: int = 3, **options):
    torch.manual_seed(seed)
    options = {"encoder": "resnet10", "encoder_width": 4, "width": 8} | options
    return build_network(PSPNetConfig(**options), channels, 1, (32, 32)).eval()


def features(net, image: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return net.encoder(image)[-1]


@pytest.fixture
def trained():
    """A network whose statistics of batch norm are not those of a new one."""
    net = network(seed=1).train()
    net(torch.rand(4, 3, 32, 32) + 1)
    return net.eval()


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_gives_the_channels_and_strides_that_it_says(name):
    with torch.device("meta"), torch.no_grad():
        encoder = build_encoder(name, 3, spatial_dims=2, output_stride=16)
        outputs = encoder(torch.empty(2, 3, 32, 64))

    assert encoder.strides == (2, 4, 8, 16, 16)
    assert [tuple(output.shape) for output in outputs] == [
        (2, channels, 32 // stride, 64 // stride)
        for channels, stride in zip(encoder.channels, encoder.strides, strict=True)
    ]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("name", SMALL)
def test_dilation_keeps_the_weights_and_the_values_where_the_strided_features_lie(
    name, stride, dims
):
    torch.manual_seed(0)
    strided = build_encoder(name, 1, dims, 32, SMALL[name]).eval()
    dilated = build_encoder(name, 1, dims, stride, SMALL[name]).eval()
    dilated.load_state_dict(strided.state_dict())
    image = torch.randn(1, 1, 64, *[32] * (dims - 1))

    with torch.no_grad():
        coarse, fine = strided(image)[-1], dilated(image)[-1]

    assert fine.shape[2:] == tuple(side // stride for side in image.shape[2:])
    step = 32 // stride
    at_strided = fine[(..., *[slice(None, None, step)] * dims)]
    # A new EfficientNet gives small values.
    torch.testing.assert_close(at_strided, coarse, atol=1e-4 * coarse.abs().max().item(), rtol=0)


@pytest.mark.parametrize(
    ("name", "parameters"),
    # As published, without the classifier: 11 689 512 - 513 000, 25 557 032 - 2 049 000 and
    # 5 288 548 - 1 281 000 - 409 600 - 2560.
    [("resnet18", 11_176_512), ("resnet50", 23_508_032), ("efficientnet-b0", 3_595_388)],
)
def test_an_encoder_has_the_parameters_of_the_published_one(name, parameters):
    with torch.device("meta"):
        encoder = build_encoder(name, 3, 2, output_stride=8)

    assert sum(weights.numel() for weights in encoder.parameters()) == parameters


def test_a_resnet_has_the_names_of_torchvision():
    with torch.device("meta"):
        own = build_encoder("resnet18", 3, 2).backbone.state_dict()

    blocks = [f"layer{stage}.{block}." for stage in (1, 2, 3, 4) for block in (0, 1)]
    expected = {f"{block}conv{number}.weight" for block in blocks for number in (1, 2)}
    expected |= {f"layer{stage}.0.downsample.0.weight" for stage in (2, 3, 4)} | {"conv1.weight"}
    assert {name for name, tensor in own.items() if tensor.ndim == 4} == expected
    assert own["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert own["layer4.1.bn2.running_var"].shape == (512,)


def test_sides_that_are_no_multiples_of_the_stride_are_refused():
    encoder = build_encoder("resnet10", 1, 2, output_stride=8, width=4)

    with pytest.raises(ValueError, match=r"sides \(16, 12\) are not all multiples of 8"):
        encoder(torch.zeros(1, 1, 16, 12))


@pytest.mark.parametrize("ending", [".pt", ".pth", ".safetensors"])
def test_the_encoder_of_a_network_starts_from_a_file(ending, trained, tmp_path, caplog):
    path = tmp_path / f"resnet{ending}"
    weights = trained.encoder.backbone.state_dict()
    weights |= {"fc.weight": torch.zeros(10, 32), "fc.bias": torch.zeros(10)}
    weights = {name: w for name, w in weights.items() if not name.endswith("batches_tracked")}
    save_file(weights, path) if ending == ".safetensors" else torch.save(weights, path)
    fresh, image = network(seed=2), torch.rand(1, 3, 32, 32)
    head = fresh.head.weight.clone()

    with caplog.at_level(logging.INFO):
        load_encoder_weights(fresh, path)

    assert torch.equal(features(fresh, image), features(trained, image))
    assert torch.equal(fresh.head.weight, head)
    assert f"encoder resnet10 starts from {path}" in caplog.text


@pytest.mark.parametrize("wrap", ["parallel", "volseg"])
def test_an_encoder_is_found_inside_what_it_was_a_part_of(wrap, trained, tmp_path):
    weights = trained.encoder.backbone.state_dict()
    path = tmp_path / "weights.pt"
    inside = {f"module.{name}": tensor for name, tensor in weights.items()}
    torch.save({"state_dict": inside} if wrap == "parallel" else trained.state_dict(), path)
    fresh, image = network(seed=2), torch.rand(1, 3, 32, 32)

    load_encoder_weights(fresh, path)

    assert torch.equal(features(fresh, image), features(trained, image))


def test_an_efficientnet_takes_the_names_of_efficientnet_pytorch(tmp_path):
    options = {"encoder": "efficientnet-b0", "encoder_width": None}
    source, fresh, image = network(1, **options), network(2, **options), torch.rand(1, 3, 32, 32)
    # There, blocks are numbered through: _blocks.3._bn1.bias, where MONAI has _blocks.2.3.
    weights = {
        re.sub(r"_blocks\.\d+\.(\d+)", r"_blocks.\1", name): tensor
        for name, tensor in source.encoder.backbone.state_dict().items()
    }
    assert "_blocks.15._depthwise_conv.weight" in weights
    others = ("_fc.weight", "_fc.bias", "_conv_head.weight", "_bn1.weight", "_bn1.running_mean")
    torch.save(weights | {name: torch.zeros(3) for name in others}, tmp_path / "b0.pth")

    load_encoder_weights(fresh, tmp_path / "b0.pth")

    assert torch.equal(features(fresh, image), features(source, image))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_channels_see_an_image_alike_in_all_of_them_as_before(
    channels, trained, tmp_path, caplog
):
    path = tmp_path / "rgb.pt"
    torch.save(trained.encoder.backbone.state_dict(), path)
    fresh, grey = network(seed=2, channels=channels), torch.rand(1, 1, 32, 32)

    with caplog.at_level(logging.INFO):
        load_encoder_weights(fresh, path)

    torch.testing.assert_close(
        features(fresh, grey.expand(-1, channels, -1, -1)),
        features(trained, grey.expand(-1, 3, -1, -1)),
    )
    first = fresh.encoder.backbone.conv1.weight
    mean = trained.encoder.backbone.conv1.weight.mean(dim=1)
    assert all(torch.allclose(first[:, k], mean * 3 / channels) for k in range(channels))
    assert f"{path} was trained on 3 channels and gets {channels}" in caplog.text


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"encoder": "resnet18"}, "lacks layer1.1.conv1.weight and "),
        ({"encoder_width": 8}, r"has conv1.weight with shape \[4, 3, 7, 7\] instead of \[8, 3, "),
        ({"encoder": "efficientnet-b0", "encoder_width": None}, "has unknown conv1.weight and "),
    ],
)
def test_weights_of_another_encoder_are_refused_in_words(options, found, trained, tmp_path):
    path = tmp_path / "other.pt"
    torch.save(trained.encoder.backbone.state_dict(), path)
    fresh = network(seed=2, **options)
    before = fresh.encoder.backbone.state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}

    with pytest.raises(ModelError, match=found) as caught:
        load_encoder_weights(fresh, path)

    assert str(path) in str(caught.value)
    assert "; set network.encoder and network.encoder_width" in str(caught.value)
    after = fresh.encoder.backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_weights_in_2d_do_not_fit_an_encoder_in_3d(trained, tmp_path):
    torch.save(trained.encoder.backbone.state_dict(), tmp_path / "flat.pt")
    options = PSPNetConfig(encoder="resnet10", encoder_width=4, width=8)
    deep = build_network(options, 1, 1, (32, 32, 32))

    with pytest.raises(ModelError, match=r"do not fit resnet10 in 3D, 4 features wide: the"):
        load_encoder_weights(deep, tmp_path / "flat.pt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.pt", None, "cannot be read .*; correct network.encoder_weights"),
        ("absent.safetensors", None, "cannot be read .*; correct network.encoder_weights"),
        ("text.pt", b"not weights", "are damaged or not a state dict"),
        ("empty.pt", b"", "are damaged or not a state dict"),
        ("half.pt", b"PK\x03\x04", "are damaged or not a state dict"),
        ("text.safetensors", b"not weights", "are damaged or not a state dict"),
        ("list.pt", [1, 2], "not a state dict of names and tensors, but a list of other things"),
        (
            "whole.pt",
            nn.Conv2d(1, 1, 1),
            r"state dict of tensors, .* may run code; save `network\.state_d",
        ),
        ("dict.pt", {"epoch": 3}, "not a state dict of names and tensors, but a dict of other"),
    ],
)
def test_a_file_without_weights_is_refused_in_words(name, content, message, tmp_path):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)

    with pytest.raises(ModelError, match=message) as caught:
        load_encoder_weights(network(seed=0), path)

    assert str(caught.value).startswith(f"encoder weights {path} ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.fill_(torch.nan), r"cannot be used: conv1\.weight holds \d+ NaN"),
        (lambda w: w.half(), r"do not fit .* has conv1\.weight of type float16 instead of float32"),
        (lambda w: w.int(), r"do not fit .* has conv1\.weight of type int32 instead of float32"),
        (lambda w: w.to_sparse(), r"conv1\.weight of type sparse_coo float32 instead of float32"),
    ],
)
def test_weights_that_no_network_can_use_are_refused(change, message, trained, tmp_path):
    state = dict(trained.encoder.backbone.state_dict())
    state["conv1.weight"] = change(state["conv1.weight"].clone())
    torch.save(state, tmp_path / "spoilt.pt")

    with pytest.raises(ModelError, match=message):
        load_encoder_weights(network(seed=2), tmp_path / "spoilt.pt")


def test_a_pipe_is_no_file_of_weights_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "weights.pt")

    with pytest.raises(ModelError, match="it is a named pipe"):
        load_encoder_weights(network(seed=0), tmp_path / "weights.pt")


def test_a_trained_model_does_not_need_the_file_of_its_encoder(tmp_path):
    options = DeepLabV3PlusConfig(
        encoder="resnet10", encoder_width=4, width=8, encoder_weights=tmp_path / "gone.pt"
    )
    config = ExperimentConfig.from_dict(
        {
            "labels": "brats2021",
            "data": {"data_list": "list.json", "patch_size": [32, 32]},
            "network": options.model_dump(mode="json"),
        }
    )
    net = build_network(config.network, 4, 3, (32, 32)).eval()
    save_model(tmp_path / "model.safetensors", net.state_dict(), config, {})

    model = load_model(tmp_path)

    assert model.config.network.encoder_weights == tmp_path / "gone.pt"
    image = torch.rand(1, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(model.network(image), net(image))
