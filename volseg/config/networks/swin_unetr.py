"""Options of network `swin_unetr`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from volseg.config.networks.section import DROPOUT, Features, NetworkSection, UpTo100
from volseg.config.section import Probability


class SwinUNETRConfig(NetworkSection):
    """Swin transformer encoder, convolutional decoder."""

    name: Literal["swin_unetr"] = "swin_unetr"
    width: Features = Field(48, description="features of the first level; a multiple of 12")
    depths: tuple[UpTo100, UpTo100, UpTo100, UpTo100] = Field(
        (2, 2, 2, 2), description="transformer blocks of each stage"
    )
    dropout: Probability = Field(0.0, description=DROPOUT)
    checkpointing: bool = Field(False, description="recompute activations: less memory, more time")
    deep_supervision: Literal[False] = False

    @model_validator(mode="after")
    def _width(self) -> SwinUNETRConfig:
        if self.width % 12:
            raise ValueError(f"width must be a multiple of 12, got {self.width}")
        return self

    @property
    def divisor(self) -> int:
        return 32

    @classmethod
    def example(cls) -> Self:
        return cls(width=12, depths=(1, 1, 1, 1))
