"""Options of network `segresnet`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from volseg.config.networks.section import DROPOUT, MOST_LEVELS, Features, NetworkSection, UpTo100
from volseg.config.section import Probability


class SegResNetConfig(NetworkSection):
    """Residual encoder and light decoder; winner of BraTS 2018."""

    name: Literal["segresnet"] = "segresnet"
    width: Features = Field(16, description="features of the finest level; a multiple of 8")
    blocks_down: tuple[UpTo100, ...] = Field(
        (1, 2, 2, 4),
        min_length=2,
        max_length=MOST_LEVELS,
        description="residual blocks of each level of the encoder, finest first",
    )
    blocks_up: tuple[UpTo100, ...] = Field(
        (1, 1, 1),
        min_length=1,
        max_length=MOST_LEVELS,
        description="residual blocks of each level of the decoder, one level less",
    )
    dropout: Probability = Field(0.0, description=DROPOUT)
    deep_supervision: Literal[False] = False

    @model_validator(mode="after")
    def _levels_match(self) -> SegResNetConfig:
        if len(self.blocks_up) != len(self.blocks_down) - 1:
            raise ValueError(
                f"blocks_up needs {len(self.blocks_down) - 1} numbers, one less than blocks_down, "
                f"got {len(self.blocks_up)}"
            )
        if self.width % 8:
            raise ValueError(f"width must be a multiple of 8, got {self.width}")
        return self

    @property
    def divisor(self) -> int:
        return 2 ** (len(self.blocks_down) - 1)

    @classmethod
    def example(cls) -> Self:
        return cls(width=8, blocks_down=(1, 1), blocks_up=(1,))
