# Copyright 2019 Division of Medical Image Computing, German Cancer Research Center (DKFZ),
# Heidelberg, Germany: Fabian Isensee and others.
# Licensed under the Apache License, Version 2.0; a copy is LICENSE.hd_bet in this folder.
#
# Changes by the volseg developers, 2026: the network of HD-BET is written more briefly, without
# dropout, deep supervision, running statistics and softmax; the names of its weights are kept.
"""The network of HD-BET, a residual U-Net that finds the brain in one MRI channel.

Source: Isensee et al., "Automated brain extraction of multisequence MRI using artificial neural
networks", Human Brain Mapping 40, 2019. https://doi.org/10.1002/hbm.24750
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

#: Sizes (I, J, K) of an image must be multiples of this.
DIVISOR = 16
_FEATURES = 21
_SLOPE, _SLOPE_OF_LAST = 0.01, 0.1


def _norm(features: int) -> nn.Module:
    return nn.InstanceNorm3d(features, affine=True)


def _active(features: torch.Tensor, slope: float = _SLOPE) -> torch.Tensor:
    return functional.leaky_relu(features, slope, inplace=True)


class _Context(nn.Module):
    """Two convolutions with a connection around them."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.bn_1, self.bn_2 = _norm(features), _norm(features)
        self.conv1 = nn.Conv3d(features, features, 3, padding=1)
        self.conv2 = nn.Conv3d(features, features, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        inner = self.conv1(_active(self.bn_1(image)))
        inner = self.conv2(_active(self.bn_2(inner)))
        return inner.add_(image)


class _Down(nn.Module):
    """Half the size, twice the features; also the input after norm and activation."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.bn = _norm(features)
        self.downsample = nn.Conv3d(features, 2 * features, 3, stride=2, padding=1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        active = _active(self.bn(image))
        return active, self.downsample(active)


class _Up(nn.Module):
    """Twice the size, half the features."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.upsample_conv = nn.Conv3d(features, features // 2, 3, padding=1)
        self.bn = _norm(features // 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        larger = functional.interpolate(image, scale_factor=2, mode="trilinear", align_corners=True)
        return _active(self.bn(self.upsample_conv(larger)))


class _Localisation(nn.Module):
    """Joins the features of two paths, and halves them."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(features, features, 3, padding=1)
        self.bn_1 = _norm(features)
        self.conv2 = nn.Conv3d(features, features // 2, 1)
        self.bn_2 = _norm(features // 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return _active(self.bn_2(self.conv2(_active(self.bn_1(self.conv1(image))))))


class HdBet(nn.Module):
    """Logits (B, 2, I, J, K) of background and brain, from an image (B, 1, I, J, K).

    The axes point to S, P and L; the spacing is 1.5 mm; the image has mean 0 and deviation 1.
    """

    def __init__(self) -> None:
        super().__init__()
        width = _FEATURES
        self.init_conv = nn.Conv3d(1, width, 3, padding=1)
        for level in range(1, 6):
            setattr(self, f"context{level}", _Context(width * 2 ** (level - 1)))
        for level in range(1, 5):
            setattr(self, f"down{level}", _Down(width * 2 ** (level - 1)))
            setattr(self, f"up{level}", _Up(width * 2 ** (5 - level)))
        for level in range(1, 4):
            setattr(self, f"loc{level}", _Localisation(width * 2 ** (5 - level)))
        self.bn_after_context5 = _norm(16 * width)
        self.end_conv_1 = nn.Conv3d(2 * width, 2 * width, 3, padding=1)
        self.end_conv_1_bn = _norm(2 * width)
        self.end_conv_2 = nn.Conv3d(2 * width, 2 * width, 3, padding=1)
        self.end_conv_2_bn = _norm(2 * width)
        self.seg_layer = nn.Conv3d(2 * width, 2, 1, bias=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features, kept = self.init_conv(image), []
        for level in range(1, 5):
            features = self.get_submodule(f"context{level}")(features)
            active, features = self.get_submodule(f"down{level}")(features)
            kept.append(active)
        features = _active(
            self.bn_after_context5(self.get_submodule("context5")(features)), _SLOPE_OF_LAST
        )
        for level in range(1, 4):
            features = torch.cat((kept.pop(), self.get_submodule(f"up{level}")(features)), dim=1)
            features = self.get_submodule(f"loc{level}")(features)
        features = torch.cat((kept.pop(), self.get_submodule("up4")(features)), dim=1)
        features = _active(self.end_conv_1_bn(self.end_conv_1(features)), _SLOPE_OF_LAST)
        features = _active(self.end_conv_2_bn(self.end_conv_2(features)), _SLOPE_OF_LAST)
        logits: torch.Tensor = self.seg_layer(features)
        return logits
