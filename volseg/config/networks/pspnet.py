"""Options of network `pspnet`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from volseg.config.networks.section import MOST_LEVELS, EncoderSection, Features, UpTo100


class PSPNetConfig(EncoderSection):
    """Pyramid of pooled context on a dilated encoder."""

    name: Literal["pspnet"] = "pspnet"
    output_stride: Literal[8, 16] = Field(
        8, description="size of a voxel of the deepest features, in voxels of the image"
    )
    bins: tuple[UpTo100, ...] = Field(
        (1, 2, 3, 6),
        min_length=1,
        max_length=MOST_LEVELS,
        description="cells along each side, for each level of the pyramid",
    )
    width: Features = Field(512, description="features before the last convolution")

    @classmethod
    def example(cls) -> Self:
        return cls(encoder="resnet10", encoder_width=4, width=8)
