"""Options of network `deeplabv3plus`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from volseg.config.networks.section import MOST_LEVELS, EncoderSection, Features, UpTo100


class DeepLabV3PlusConfig(EncoderSection):
    """Atrous spatial pyramid on a dilated encoder; the decoder adds finer features."""

    name: Literal["deeplabv3plus"] = "deeplabv3plus"
    rates: tuple[UpTo100, ...] = Field(
        (6, 12, 18),
        min_length=1,
        max_length=MOST_LEVELS,
        description="dilations at output stride 16; doubled at output stride 8",
    )
    width: Features = Field(256, description="features of the pyramid and the decoder")
    low_level_width: Features = Field(48, description="features of the skip connection at stride 4")
    separable: bool = Field(True, description="depthwise separable convolutions after the encoder")

    @classmethod
    def example(cls) -> Self:
        return cls(encoder="resnet10", encoder_width=4, rates=(1, 2), width=8, low_level_width=4)
