"""Undocumented parts of MONAI's EfficientNet; found in 1.6.1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai.networks.nets import EfficientNetBNFeatures
from monai.networks.nets.efficientnet import MBConvBlock
from torch import nn


def efficientnet_stages(backbone: EfficientNetBNFeatures) -> list[nn.Module]:
    """Stages of an EfficientNet; the first one works at half the size of the image."""
    blocks: Any = backbone._blocks
    return list(blocks)


def remove_classifier(backbone: EfficientNetBNFeatures) -> None:
    """Remove the layers that follow the features of an EfficientNet."""
    del backbone._conv_head, backbone._bn1, backbone._fc


def depthwise_convolution(block: MBConvBlock) -> nn.Conv2d | nn.Conv3d:
    """The convolution of a block that may have a stride."""
    convolution: Any = block._depthwise_conv
    return convolution


def change_depthwise_padding(block: MBConvBlock, changed: Callable[[Any], nn.Module]) -> None:
    """Replace the padding before the depthwise convolution of a block by `changed(padding)`."""
    block._depthwise_conv_padding = changed(block._depthwise_conv_padding)
