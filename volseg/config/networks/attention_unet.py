"""Options of network `attention_unet`."""

from __future__ import annotations

from typing import Literal, Self

from volseg.config.networks.section import BatchNorm, Levels


class AttentionUNetConfig(Levels, BatchNorm):
    """U-Net with attention gates on its skip connections."""

    name: Literal["attention_unet"] = "attention_unet"
    deep_supervision: Literal[False] = False

    @classmethod
    def example(cls) -> Self:
        return cls(widths=(4, 6, 8))
