"""Options of network `unet`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field

from volseg.config.networks.section import Levels
from volseg.config.section import NonNegativeInt


class UNetConfig(Levels):
    """Residual U-Net of MONAI."""

    name: Literal["unet"] = "unet"
    deep_supervision: Literal[False] = False
    residual_units: Annotated[NonNegativeInt, Field(le=100)] = Field(
        2, description="convolutions in each level"
    )
    full_resolution: bool = Field(
        False,
        description="first level at the resolution of the image; else at half of it (faster)",
    )

    @property
    def divisor(self) -> int:
        return 2 ** (len(self.widths) - 1 - self.full_resolution)

    @classmethod
    def example(cls) -> Self:
        return cls(widths=(4, 6, 8))
