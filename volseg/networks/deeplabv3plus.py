"""DeepLabV3+: a pyramid of dilated convolutions, and a decoder that also uses finer features.

Chen, Zhu, Papandreou, Schroff, Adam, "Encoder-decoder with atrous separable convolution for
semantic image segmentation", ECCV 2018, https://arxiv.org/abs/1802.02611
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from volseg.config.networks.deeplabv3plus import DeepLabV3PlusConfig
from volseg.networks.blocks import PooledContext, convolution, resize, separable_convolution
from volseg.networks.encoders import Encoder, build_encoder
from volseg.networks.prior import start_from_prior

#: Stride of the finer features that the decoder uses.
_LOW_LEVEL_STRIDE = 4


class DeepLabV3Plus(nn.Module):
    """Dilated encoder, atrous spatial pyramid, decoder at a quarter of the size, logits.

    Args:
        encoder: Encoder of the features; the last features and those at stride 4 are used.
        out_channels: Number of regions.
        rates: Dilations of the pyramid at the stride of this encoder.
        width: Features of each branch of the pyramid and of the decoder.
        low_level_width: Features from stride 4, after reduction.
        separable: Use depthwise separable convolutions in pyramid and decoder.
        dropout: Probability to drop a feature after the pyramid.
    """

    def __init__(
        self,
        encoder: Encoder,
        out_channels: int,
        rates: Sequence[int] = (6, 12, 18),
        width: int = 256,
        low_level_width: int = 48,
        *,
        separable: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        dims = encoder.spatial_dims
        block = separable_convolution if separable else _full_convolution
        self.encoder = encoder
        self.low_level = encoder.strides.index(_LOW_LEVEL_STRIDE)
        self.pyramid = AtrousPyramid(dims, encoder.channels[-1], width, rates, block)
        self.dropout = nn.Dropout(dropout)
        self.reduce = convolution(dims, encoder.channels[self.low_level], low_level_width, 1)
        self.decoder = nn.Sequential(
            block(dims, width + low_level_width, width), block(dims, width, width)
        )
        self.head = Conv["conv", dims](width, out_channels, kernel_size=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits `(B, R, I, J[, K])` of an image `(B, C, I, J[, K])`."""
        features = self.encoder(image)
        low_level = self.reduce(features[self.low_level])
        context = self.dropout(self.pyramid(features[-1]))
        fine = self.decoder(torch.cat([resize(context, low_level.shape[2:]), low_level], dim=1))
        return resize(self.head(fine), image.shape[2:])


class AtrousPyramid(nn.Module):
    """Parallel branches with increasing receptive fields, one of them the whole image.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Features of the encoder.
        width: Features of each branch, and of the result.
        rates: Dilations.
        block: Builds a convolution from `(spatial_dims, in_channels, out_channels, dilation)`.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        width: int,
        rates: Sequence[int],
        block: Callable[[int, int, int, int], nn.Module],
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                convolution(spatial_dims, in_channels, width, 1),
                *(block(spatial_dims, in_channels, width, rate) for rate in rates),
                PooledContext(spatial_dims, in_channels, width, bins=1),
            ]
        )
        self.project = convolution(spatial_dims, width * len(self.branches), width, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.project(torch.cat([branch(features) for branch in self.branches], dim=1))


def _full_convolution(
    spatial_dims: int, in_channels: int, out_channels: int, dilation: int = 1
) -> nn.Module:
    return convolution(spatial_dims, in_channels, out_channels, dilation=dilation)


def build(
    config: DeepLabV3PlusConfig, in_channels: int, out_channels: int, spatial_dims: int
) -> nn.Module:
    """A new network, with random weights; see `build_network`."""
    network = DeepLabV3Plus(
        build_encoder(
            config.encoder,
            in_channels,
            spatial_dims,
            config.output_stride,
            config.encoder_width,
        ),
        out_channels,
        # A grid twice as dense needs twice the dilation for the same receptive field (section 4).
        rates=[rate * 16 // config.output_stride for rate in config.rates],
        width=config.width,
        low_level_width=config.low_level_width,
        separable=config.separable,
        dropout=config.dropout,
    )
    start_from_prior(network.head)
    return network
