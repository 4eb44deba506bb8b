"""SegNet: the decoder puts features back at the positions of the encoder's maxima.

Badrinarayanan, Kendall, Cipolla, "SegNet: A deep convolutional encoder-decoder architecture for
image segmentation", IEEE TPAMI 39(12), 2017, https://arxiv.org/abs/1511.00561
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.layers.factories import Conv, Pool
from torch import nn

from volseg.config.networks.segnet import SegNetConfig
from volseg.networks.blocks import convolution
from volseg.networks.prior import start_from_prior

_UNPOOL = {2: nn.MaxUnpool2d, 3: nn.MaxUnpool3d}


class SegNet(nn.Module):
    """VGG encoder and mirrored decoder, connected only by the positions of the maxima.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Number of channels of the input.
        out_channels: Number of regions.
        widths: Features of each level, finest first; each level ends in a pooling by two.
        convolutions: Convolutions of each level, in the encoder and in the decoder.
        dropout: Probability to drop a feature before the last convolution.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        convolutions: Sequence[int],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        above = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(
            _level(spatial_dims, [before, *[width] * number])
            for before, width, number in zip(above, widths, convolutions, strict=True)
        )
        self.pool = Pool["max", spatial_dims](kernel_size=2, return_indices=True)
        self.unpool = _UNPOOL[spatial_dims](kernel_size=2)
        # The last convolution of a level outputs the features of the level above.
        above[0] = widths[0]
        self.decoder = nn.ModuleList(
            _level(spatial_dims, [*[width] * number, after])
            for after, width, number in zip(above, widths, convolutions, strict=True)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = Conv["conv", spatial_dims](widths[0], out_channels, kernel_size=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits `(B, R, I, J[, K])` of an image `(B, C, I, J[, K])`."""
        features, places = image, []
        for level in self.encoder:
            features, indices = self.pool(level(features))
            places.append(indices)
        for level, indices in zip(reversed(self.decoder), reversed(places), strict=True):
            features = level(self.unpool(features, indices))
        return self.head(self.dropout(features))


def _level(spatial_dims: int, widths: Sequence[int]) -> nn.Module:
    """Convolutions from each of `widths` to the next."""
    return nn.Sequential(
        *(convolution(spatial_dims, before, after) for before, after in pairwise(widths))
    )


def build(
    config: SegNetConfig, in_channels: int, out_channels: int, spatial_dims: int
) -> nn.Module:
    """A new network, with random weights; see `build_network`."""
    network = SegNet(
        spatial_dims,
        in_channels,
        out_channels,
        widths=config.widths,
        convolutions=config.convolutions,
        dropout=config.dropout,
    )
    start_from_prior(network.head)
    return network
