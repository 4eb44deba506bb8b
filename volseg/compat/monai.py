"""Parts of MONAI's EfficientNet that it does not document; seen in 1.6.1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai.networks.nets import EfficientNetBNFeatures
from monai.networks.nets.efficientnet import MBConvBlock
from torch import nn


def efficientnet_stages(backbone: EfficientNetBNFeatures) -> list[nn.Module]:
    """Stages of an EfficientNet, which begin with that of half the size of the image."""
    blocks: Any = backbone._blocks
    return list(blocks)


def remove_classifier(backbone: EfficientNetBNFeatures) -> None:
    """Remove the layers that an EfficientNet has behind its features."""
    del backbone._conv_head, backbone._bn1, backbone._fc


def depthwise_convolution(block: MBConvBlock) -> nn.Conv2d | nn.Conv3d:
    """The convolution of a block that may be strided."""
    convolution: Any = block._depthwise_conv
    return convolution


def change_depthwise_padding(block: MBConvBlock, changed: Callable[[Any], nn.Module]) -> None:
    """Replace the padding before the depthwise convolution of a block by what `changed` gives."""
    block._depthwise_conv_padding = changed(block._depthwise_conv_padding)
