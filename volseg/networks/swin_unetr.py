"""Swin UNETR of MONAI."""

from __future__ import annotations

import importlib.util

from monai.networks.nets import SwinUNETR
from torch import nn

from volseg.config.networks.swin_unetr import SwinUNETRConfig
from volseg.errors import ConfigError
from volseg.networks.prior import start_from_prior


def build(
    config: SwinUNETRConfig, in_channels: int, out_channels: int, spatial_dims: int
) -> nn.Module:
    """A new network, with random weights; see `build_network`."""
    # MONAI imports einops only in the first forward pass, maybe hours after a job began.
    if importlib.util.find_spec("einops") is None:
        raise ConfigError(
            "network swin_unetr needs einops", remedy="pip install 'volseg[transformer]'"
        )
    network = SwinUNETR(
        in_channels=in_channels,
        out_channels=out_channels,
        depths=config.depths,
        feature_size=config.width,
        drop_rate=config.dropout,
        use_checkpoint=config.checkpointing,
        spatial_dims=spatial_dims,
    )
    start_from_prior(network.out)
    return network
