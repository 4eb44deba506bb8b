"""SegNet, DeepLabV3+ and PSPNet do what their papers say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from volseg.config import ExperimentConfig
from volseg.config.networks.deeplabv3plus import DeepLabV3PlusConfig
from volseg.config.networks.pspnet import PSPNetConfig
from volseg.config.networks.segnet import SegNetConfig
from volseg.errors import ConfigError
from volseg.networks import build_network, deeplabv3plus, pspnet, segnet
from volseg.networks.blocks import PooledContext


def test_segnet_puts_each_value_where_the_maximum_was():
    network = segnet.SegNet(2, 1, 1, widths=(1,), convolutions=(1,))
    network.encoder = network.decoder = nn.ModuleList([nn.Identity()])
    network.head = nn.Identity()
    image = torch.tensor([[1.0, 2, 0, 7], [4, 3, 6, 5], [9, 8, -1, -2], [7, 6, -4, -3]])

    unpooled = network(image[None, None])

    assert unpooled[0, 0].tolist() == [[0, 0, 0, 7], [4, 0, 0, 0], [9, 0, -1, 0], [0, 0, 0, 0]]


def test_segnet_unpools_each_level_with_its_own_maxima():
    network = segnet.SegNet(3, 1, 1, widths=(1, 1), convolutions=(1, 1))
    network.encoder = network.decoder = nn.ModuleList([nn.Identity(), nn.Identity()])
    network.head = nn.Identity()
    image = torch.rand(1, 1, 4, 4, 4)

    unpooled = network(image)

    assert torch.equal(unpooled, image * (image == image.max()))


def test_segnet_has_the_thirteen_convolutions_of_the_paper_twice_and_a_classifier():
    with torch.device("meta"):
        network = build_network(SegNetConfig(), 3, 12, (32, 32))

    widths = [
        (module.in_channels, module.out_channels)
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]

    down = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256)]
    down += [(256, 512), *[(512, 512)] * 5]
    assert widths[:13] == down
    # The decoder is listed finest first; each level ends with the features of the one above.
    assert sorted(widths[13:-1]) == sorted(
        [(64, 64), *((after, before) for before, after in down[1:])]
    )
    assert widths[-1] == (64, 12)


@pytest.mark.parametrize(("stride", "dilations"), [(16, [6, 12, 18]), (8, [12, 24, 36])])
def test_the_pyramid_of_deeplab_looks_as_far_at_either_output_stride(stride, dilations):
    config = DeepLabV3PlusConfig(encoder="resnet10", encoder_width=4, output_stride=stride)
    network = build_network(config, 1, 1, (32, 32))

    found = [
        module.dilation[0]
        for module in network.pyramid.modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
    ]

    assert found == dilations


def test_the_decoder_of_deeplab_sees_the_features_at_a_quarter_of_the_size():
    config = DeepLabV3PlusConfig(encoder="resnet10", encoder_width=4, width=8, low_level_width=4)
    network = build_network(config, 1, 1, (32, 16)).eval()
    seen = []
    network.decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))

    network(torch.zeros(1, 1, 32, 16))

    assert seen == [(1, 8 + 4, 8, 4)]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("bins", [1, 2, 3, 6])
def test_the_pooled_context_of_a_constant_image_is_constant(bins, dims):
    torch.manual_seed(0)
    context = PooledContext(dims, 4, 5, bins).eval()
    features = torch.rand(2, 4, *[1] * dims).expand(-1, -1, *[7] * dims)

    with torch.no_grad():
        pooled = context(features).flatten(2)

    assert pooled.shape == (2, 5, 7**dims)
    assert pooled.any()
    torch.testing.assert_close(pooled, pooled[..., :1].expand_as(pooled))


def test_the_pooled_context_of_two_bins_holds_the_means_of_the_quarters():
    context = PooledContext(2, 1, 1, bins=2)
    context.project = nn.Identity()
    features = torch.arange(16.0).reshape(1, 1, 4, 4)

    corners = context(features)[0, 0, ::3, ::3]

    # (0 + 1 + 4 + 5) / 4, (2 + 3 + 6 + 7) / 4 and so on
    assert corners.tolist() == [[2.5, 4.5], [10.5, 12.5]]


def test_the_pyramid_of_pspnet_is_as_wide_as_the_features_beside_it():
    network = build_network(PSPNetConfig(encoder="resnet18"), 3, 1, (64, 64))

    fuse = network.fuse.conv

    assert [level.pool.output_size for level in network.pyramid] == [1, 2, 3, 6]
    assert (fuse.in_channels, fuse.out_channels) == (512 + 512, 512)


@pytest.mark.parametrize("module", [segnet, deeplabv3plus, pspnet])
def test_a_network_of_a_paper_is_one_short_file_that_names_the_paper(module):
    text = Path(module.__file__).read_text(encoding="utf-8")

    assert len(text.splitlines()) <= 150
    assert "https://arxiv.org/abs/" in module.__doc__


@pytest.mark.parametrize(
    ("network", "mistake"),
    [
        (
            {"name": "segnet", "widths": [4, 8, 16]},
            "network: convolutions needs 3 numbers, one for each of widths, got 5",
        ),
        (
            {"name": "pspnet", "encoder": "efficientnet-b0", "encoder_width": 16},
            "network: encoder_width is for a resnet, but encoder is efficientnet-b0; leave it out",
        ),
        (
            {"name": "deeplabv3plus", "output_stride": 32},
            "network.output_stride: input should be 8 or 16, got 32",
        ),
    ],
)
def test_options_of_a_network_that_do_not_go_together_are_told(network, mistake):
    options = {"labels": "brats2021", "data": {"data_list": "list.json"}, "network": network}

    with pytest.raises(ConfigError) as caught:
        ExperimentConfig.from_dict(options)

    assert str(caught.value).splitlines()[1:] == [f"  {mistake}"]


@pytest.mark.parametrize(
    ("config", "divisor"),
    [
        (SegNetConfig(), 32),
        (SegNetConfig(widths=(4, 8), convolutions=(1, 1)), 4),
        (DeepLabV3PlusConfig(), 16),
        (DeepLabV3PlusConfig(output_stride=8), 8),
        (PSPNetConfig(), 8),
        (PSPNetConfig(output_stride=16), 16),
    ],
)
def test_the_divisor_follows_from_levels_and_output_stride(config, divisor):
    assert config.divisor == divisor
