"""Blocks of our own networks: normalised convolutions, pooled context, resizing.

All use batch norm, as in their papers and as the published weights of encoders expect.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Pool
from torch import nn
from torch.nn import functional as F


def convolution(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    *,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Module:
    """Convolution, batch norm and ReLU, without a change of size."""
    return Convolution(
        spatial_dims,
        in_channels,
        out_channels,
        kernel_size=kernel_size,
        dilation=dilation,
        groups=groups,
        norm="batch",
        act="relu",
        bias=False,
    )


def separable_convolution(
    spatial_dims: int, in_channels: int, out_channels: int, dilation: int = 1
) -> nn.Module:
    """Depthwise convolution (each channel alone), then a pointwise one (all channels per voxel)."""
    return nn.Sequential(
        convolution(spatial_dims, in_channels, in_channels, dilation=dilation, groups=in_channels),
        convolution(spatial_dims, in_channels, out_channels, 1),
    )


class PooledContext(nn.Module):
    """Means over `bins` cells per side, projected to `out_channels` and resized to the input.

    A single cell is not normalised: it has one value per channel, without variance in a batch of
    one.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, bins: int) -> None:
        super().__init__()
        self.pool = Pool["adaptiveavg", spatial_dims](bins)
        self.project = Convolution(
            spatial_dims,
            in_channels,
            out_channels,
            kernel_size=1,
            norm=None if bins == 1 else "batch",
            act="relu",
            bias=bins == 1,
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return resize(self.project(self.pool(features)), features.shape[2:])


def resize(image: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Linear interpolation of `(B, C, I, J[, K])` to `size`; the borders of both images agree."""
    mode = "bilinear" if image.ndim == 4 else "trilinear"
    return F.interpolate(image, size=tuple(size), mode=mode, align_corners=False)
