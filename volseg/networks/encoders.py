"""Encoders of MONAI with features at several strides, whose coarse stages may be dilated.

Nothing is downloaded; `volseg.networks.encoder_weights` reads weights from a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from monai.networks.layers.factories import Pad
from monai.networks.nets import EfficientNetBNFeatures
from monai.networks.nets.efficientnet import EfficientNetEncoder, MBConvBlock
from monai.networks.nets.resnet import ResNet, ResNetFeatures, resnet_params
from torch import nn

from volseg.compat.monai import (
    change_depthwise_padding,
    depthwise_convolution,
    efficientnet_stages,
    remove_classifier,
)

#: Features of the first stage of a published ResNet.
RESNET_WIDTH = 64

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_STRIDES = (2, 4, 8, 16, 32)
_EFFICIENTNET_CHANNELS = dict(
    zip(
        EfficientNetEncoder.get_encoder_names(),
        EfficientNetEncoder.num_channels_per_output(),
        strict=True,
    )
)


class Encoder(nn.Module):
    """Network that computes features of an image at five strides, finest first.

    Attributes:
        name: Name of the encoder.
        backbone: The module of MONAI, with the names of published weights.
        spatial_dims: 2 or 3.
        channels: Number of features of each output.
        strides: Stride of each output, in voxels of the image.
    """

    def __init__(
        self,
        name: str,
        backbone: nn.Module,
        spatial_dims: int,
        channels: Sequence[int],
        stride: int,
    ) -> None:
        super().__init__()
        self.name = name
        self.backbone = backbone
        self.spatial_dims = spatial_dims
        self.channels = tuple(channels)
        self.strides = tuple(min(each, stride) for each in _STRIDES)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        sides = tuple(image.shape[2:])
        # Other sides would be rounded up and shift the features against the image.
        if any(side % self.strides[-1] for side in sides):
            raise ValueError(f"sides {sides} are not all multiples of {self.strides[-1]}")
        return list(self.backbone(image))


def build_encoder(
    name: str,
    in_channels: int,
    spatial_dims: int,
    output_stride: int = 32,
    width: int | None = None,
) -> Encoder:
    """A new encoder with random weights.

    Args:
        name: Name of a ResNet or EfficientNet, such as `resnet18` or `efficientnet-b0`.
        in_channels: Number of channels of the input.
        spatial_dims: 2 or 3.
        output_stride: 8, 16 or 32. Later stages are dilated instead of strided: same weights and
            same values at the positions of strided features, but on a denser grid.
        width: Features of the first stage of a ResNet; None: as published.

    Returns:
        Encoder with five outputs, at strides 2, 4, 8, 16 and 32, none above `output_stride`.
    """
    backbone: nn.Module
    if name in resnet_params:
        backbone, channels = _resnet(name, in_channels, spatial_dims, width or RESNET_WIDTH)
        stages = [getattr(backbone, f"layer{number}") for number in (2, 3, 4)]
    else:
        backbone, channels = _efficientnet(name, in_channels, spatial_dims)
        stages = efficientnet_stages(backbone)[2:]
    _dilate(stages, 4, output_stride)
    return Encoder(name, backbone, spatial_dims, channels, output_stride)


class _ResNetFeatures(ResNetFeatures):
    """ResNet with the layout of torchvision, in any width.

    The ResNet of MONAI always has width 64, and its depths 18 and 34 have shortcuts that stop the
    gradient.
    """

    def __init__(self, name: str, in_channels: int, spatial_dims: int, width: int) -> None:
        block, layers, *_ = resnet_params[name]
        ResNet.__init__(
            self,
            block,
            layers,
            [width, 2 * width, 4 * width, 8 * width],
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_stride=2,
            feed_forward=False,
            shortcut_type="B",
            bias_downsample=False,
        )


def _resnet(
    name: str, in_channels: int, spatial_dims: int, width: int
) -> tuple[nn.Module, tuple[int, ...]]:
    backbone = _ResNetFeatures(name, in_channels, spatial_dims, width)
    block: Any = backbone.layer1[0]
    expansion = block.expansion
    return backbone, (width, *(expansion * width * factor for factor in (1, 2, 4, 8)))


def _efficientnet(
    name: str, in_channels: int, spatial_dims: int
) -> tuple[EfficientNetBNFeatures, tuple[int, ...]]:
    backbone = EfficientNetBNFeatures(
        name, pretrained=False, spatial_dims=spatial_dims, in_channels=in_channels
    )
    # The features bypass the classifier, and several GPUs would wait for its gradients.
    remove_classifier(backbone)
    return backbone, _EFFICIENTNET_CHANNELS[name]


def _dilate(stages: Iterable[nn.Module], stride: int, output_stride: int) -> None:
    """Replace strides beyond `output_stride` by dilation; `stages` begin at `stride`.

    A convolution that loses its stride keeps its dilation; all later convolutions double theirs.
    """
    dilation = 1
    for stage in stages:
        before = dilation
        strided = {m for m in stage.modules() if isinstance(m, _CONVOLUTIONS) and max(m.stride) > 1}
        if strided and stride < output_stride:
            stride *= 2
            continue
        dilation *= 2 if strided else 1
        for module in stage.modules():
            if isinstance(module, MBConvBlock):
                convolution = depthwise_convolution(module)
                rate = before if convolution in strided else dilation
                change_depthwise_padding(
                    module, partial(_spread, kernel_size=convolution.kernel_size, rate=rate)
                )
            if isinstance(module, _CONVOLUTIONS):
                rate = before if module in strided else dilation
                module.stride = (1,) * len(module.stride)
                module.dilation = (rate,) * len(module.dilation)
                assert not isinstance(module.padding, str)  # MONAI gives voxels
                module.padding = tuple(side * rate for side in module.padding)


def _spread(padding: Any, kernel_size: Sequence[int], rate: int) -> nn.Module:
    """Padding of an EfficientNet that keeps the size with a kernel of dilation `rate`.

    The padding of a strided convolution is uneven; its first side gives the position of the kernel.
    """
    first = padding.padding[0] * rate
    last = (kernel_size[0] - 1) * rate - first
    return Pad["constantpad", len(kernel_size)]((first, last) * len(kernel_size), 0.0)
