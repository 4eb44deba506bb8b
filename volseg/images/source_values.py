"""What the file of a channel holds before preprocessing: its background and its grey values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from volseg.images.background import Background, Mask

#: Kinds of background: exactly 0, another value, a range of values, or none that fills the border.
BackgroundKind = Literal["zero", "value", "range", "none"]


@dataclass(frozen=True)
class SourceValues:
    """Background and grey values of a channel in its file, estimated from a sample of voxels.

    Attributes:
        background: Kind of the background; None if an option defines what is background.
        value: Value of the background; 0 if none was found.
        scale: 99th percentile of the distance of the tissue from the background.
        below: Share of the tissue that is darker than the background; where an option defines what
            is background, share of all voxels below 0.
        at_highest: Share of the tissue that has its highest value.
    """

    background: BackgroundKind | None
    value: float
    scale: float
    below: float
    at_highest: float

    @classmethod
    def of(
        cls, sample: npt.NDArray[Any], tissue: Mask, background: Background, *, counts: bool
    ) -> SourceValues | None:
        """Facts of a sample of voxels; None if no tissue is among them.

        Args:
            sample: Grey values as in the file, any shape.
            tissue: Mask of the tissue among them.
            background: Background of the channel.
            counts: Whether it was found in the image, and not defined by an option.
        """
        if not tissue.any():
            return None
        distances = sample[tissue].astype(np.float64) - background.value
        return cls(
            background=_kind(background) if counts else None,
            value=background.value,
            scale=float(np.percentile(abs(distances), 99)),
            below=float(((distances if counts else sample) < 0).mean()),
            at_highest=float((distances == distances.max()).mean()),
        )


def _kind(background: Background) -> BackgroundKind:
    if background.is_smeared or background.around is not None:
        return "range"
    if not background.is_certain:
        return "none"
    return "zero" if background.value == 0 else "value"
