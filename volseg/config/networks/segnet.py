"""Options of network `segnet`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from volseg.config.networks.section import (
    DROPOUT,
    MOST_LEVELS,
    WIDTHS,
    BatchNorm,
    Features,
    UpTo100,
)
from volseg.config.section import Probability


class SegNetConfig(BatchNorm):
    """VGG encoder; the decoder unpools to the positions of the encoder's maxima."""

    name: Literal["segnet"] = "segnet"
    widths: tuple[Features, ...] = Field(
        (64, 128, 256, 512, 512),
        min_length=2,
        max_length=MOST_LEVELS,
        description=WIDTHS,
    )
    convolutions: tuple[UpTo100, ...] = Field(
        (2, 2, 3, 3, 3),
        min_length=2,
        max_length=MOST_LEVELS,
        description="convolutions of each level, in encoder and decoder",
    )
    dropout: Probability = Field(0.0, description=DROPOUT)
    deep_supervision: Literal[False] = False

    @model_validator(mode="after")
    def _levels_match(self) -> SegNetConfig:
        if len(self.convolutions) != len(self.widths):
            raise ValueError(
                f"convolutions needs {len(self.widths)} numbers, one for each of widths, "
                f"got {len(self.convolutions)}"
            )
        return self

    @property
    def divisor(self) -> int:
        return 2 ** len(self.widths)

    @classmethod
    def example(cls) -> Self:
        return cls(widths=(4, 6, 8), convolutions=(1, 2, 2))
