"""The U-Net of a volseg model for the peers: MONAI's, with its axes turned as volseg turns them."""

from __future__ import annotations

from typing import Any

import torch
from monai.networks.nets import UNet


class TurnedUNet(torch.nn.Module):
    """What nnU-Net builds from its plans.

    Args:
        input_channels: Number of MRI channels.
        num_classes: Number of regions.
        mirrored: Axes (of C, I, J, K, counted in batches) that point away from R, A and S.
        deep_supervision: What nnU-Net says; there is none.
        unet: The rest of the arguments of MONAI's U-Net.
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        mirrored: list[int],
        deep_supervision: bool = False,
        **unet: Any,
    ) -> None:
        super().__init__()
        self.mirrored = mirrored
        self.network = UNet(in_channels=input_channels, out_channels=num_classes, **unet)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Logits (B, R, K, J, I) of windows (B, C, K, J, I), the order in which nnU-Net reads."""
        ras = windows.permute(0, 1, 4, 3, 2).flip(self.mirrored)
        return self.network(ras).flip(self.mirrored).permute(0, 1, 4, 3, 2)
