"""Options of network `dynunet`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from volseg.config.networks.section import DEEP_SUPERVISION, MOST_LEVELS, WIDTHS, Features, Levels


class DynUNetConfig(Levels):
    """U-Net as nnU-Net builds it, with deep supervision."""

    name: Literal["dynunet"] = "dynunet"
    deep_supervision: bool = Field(True, description=DEEP_SUPERVISION)
    widths: tuple[Features, ...] = Field(
        (32, 64, 128, 256, 320, 320),
        min_length=3,
        max_length=MOST_LEVELS,
        description=WIDTHS,
    )
    residual: bool = Field(False, description="residual blocks")

    @classmethod
    def example(cls) -> Self:
        return cls(widths=(4, 6, 8, 8))
