"""Attention U-Net of MONAI."""

from __future__ import annotations

from monai.networks.nets import AttentionUnet
from torch import nn

from volseg.config.networks.attention_unet import AttentionUNetConfig
from volseg.networks.prior import start_from_prior


def build(
    config: AttentionUNetConfig, in_channels: int, out_channels: int, spatial_dims: int
) -> nn.Module:
    """A new network, with random weights; see `build_network`."""
    network = AttentionUnet(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=out_channels,
        channels=config.widths,
        strides=[2] * (len(config.widths) - 1),
        dropout=config.dropout,
    )
    start_from_prior(network.model)
    return network
