"""PSPNet: means over cells of several sizes give each voxel the context of the whole image.

Zhao, Shi, Qi, Wang, Jia, "Pyramid scene parsing network", CVPR 2017,
https://arxiv.org/abs/1612.01105
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from volseg.config.networks.pspnet import PSPNetConfig
from volseg.networks.blocks import PooledContext, convolution, resize
from volseg.networks.encoders import Encoder, build_encoder
from volseg.networks.prior import start_from_prior


class PSPNet(nn.Module):
    """Dilated encoder, its features joined with a pyramid of pooled features, logits.

    The auxiliary loss of the paper is left out; it is for encoders of a hundred layers.

    Args:
        encoder: Encoder of the features; only the last features are used.
        out_channels: Number of regions.
        bins: Cells along each side in each level of the pyramid.
        width: Features before the last convolution.
        dropout: Probability to drop a feature before the last convolution.
    """

    def __init__(
        self,
        encoder: Encoder,
        out_channels: int,
        bins: Sequence[int] = (1, 2, 3, 6),
        width: int = 512,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        dims, channels = encoder.spatial_dims, encoder.channels[-1]
        # All levels together have as many features as the encoder.
        share = max(1, channels // len(bins))
        self.encoder = encoder
        self.pyramid = nn.ModuleList(PooledContext(dims, channels, share, n) for n in bins)
        self.fuse = convolution(dims, channels + share * len(bins), width)
        self.dropout = nn.Dropout(dropout)
        self.head = Conv["conv", dims](width, out_channels, kernel_size=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits `(B, R, I, J[, K])` of an image `(B, C, I, J[, K])`."""
        features = self.encoder(image)[-1]
        context = [level(features) for level in self.pyramid]
        fused = self.fuse(torch.cat([features, *context], dim=1))
        return resize(self.head(self.dropout(fused)), image.shape[2:])


def build(
    config: PSPNetConfig, in_channels: int, out_channels: int, spatial_dims: int
) -> nn.Module:
    """A new network, with random weights; see `build_network`."""
    network = PSPNet(
        build_encoder(
            config.encoder,
            in_channels,
            spatial_dims,
            config.output_stride,
            config.encoder_width,
        ),
        out_channels,
        bins=config.bins,
        width=config.width,
        dropout=config.dropout,
    )
    start_from_prior(network.head)
    return network
