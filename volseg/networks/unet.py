"""Residual U-Net of MONAI."""

from __future__ import annotations

from monai.networks.nets import UNet
from torch import nn

from volseg.config.networks.unet import UNetConfig
from volseg.networks.norms import INSTANCE_NORM
from volseg.networks.prior import start_from_prior


def build(config: UNetConfig, in_channels: int, out_channels: int, spatial_dims: int) -> nn.Module:
    """A new network, with random weights; see `build_network`."""
    network = UNet(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=out_channels,
        channels=config.widths,
        strides=[1 if config.full_resolution else 2] + [2] * (len(config.widths) - 2),
        num_res_units=config.residual_units,
        norm=INSTANCE_NORM,
        dropout=config.dropout,
    )
    start_from_prior(network.model)
    return network
