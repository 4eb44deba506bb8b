"""Types of options, and the base class of every section of a config."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _number(value: object) -> object:
    # In Python True equals 1, so `max_epochs: yes` would mean one epoch.
    if isinstance(value, bool):
        raise ValueError(f"give a number, got {value}")
    return value


Float = Annotated[float, BeforeValidator(_number)]
Probability = Annotated[Float, Field(ge=0, le=1)]
Share = Annotated[Float, Field(ge=0, lt=1)]
Positive = Annotated[Float, Field(gt=0)]
NonNegative = Annotated[Float, Field(ge=0)]
#: Range of spacings of head images in mm; numbers outside it must be in another unit.
SPACINGS_MM = (0.05, 20.0)
Spacing = Annotated[Float, Field(ge=SPACINGS_MM[0], le=SPACINGS_MM[1])]
Int = Annotated[int, BeforeValidator(_number)]
#: Largest integer of an option; the product of two still is a valid size of an array.
MOST = 2**31 - 1
PositiveInt = Annotated[Int, Field(gt=0, le=MOST)]
NonNegativeInt = Annotated[Int, Field(ge=0)]


class Section(BaseModel):
    """A part of a config: frozen, and strict about unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
