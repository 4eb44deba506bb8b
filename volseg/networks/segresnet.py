"""SegResNet of MONAI."""

from __future__ import annotations

from monai.networks.nets import SegResNet
from torch import nn

from volseg.config.networks.segresnet import SegResNetConfig
from volseg.networks.prior import start_from_prior


def build(
    config: SegResNetConfig, in_channels: int, out_channels: int, spatial_dims: int
) -> nn.Module:
    """A new network, with random weights; see `build_network`."""
    network = SegResNet(
        spatial_dims=spatial_dims,
        init_filters=config.width,
        in_channels=in_channels,
        out_channels=out_channels,
        dropout_prob=config.dropout or None,
        blocks_down=config.blocks_down,
        blocks_up=config.blocks_up,
    )
    start_from_prior(network.conv_final)
    return network
