"""The share of each channel in the probability of each region: exact Shapley values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from volseg.inference.preparing import PreparedCase
from volseg.model_file import Model


@dataclass(frozen=True)
class ChannelShares:
    """What each channel of a case adds to the mean probability of a region.

    Attributes:
        region: Name of the region.
        values: Shapley value of each channel of the models, in their order; negative where the
            channel lowers the probability, 0 for a missing channel.
        with_all: Mean probability of the region's mask with all channels of the case.
        with_none: The same without any channel; the values add up to the difference.
    """

    region: str
    values: Mapping[str, float]
    with_all: float
    with_none: float

    @property
    def shares(self) -> dict[str, float]:
        """Share of each channel in the sum of the positive values; all 0 if there is none.

        >>> ChannelShares("ET", {"t1c": 0.6, "t2f": 0.2, "t1n": -0.1}, 0.8, 0.1).shares
        {'t1c': 0.75, 't2f': 0.25, 't1n': 0.0}
        """
        positive = {channel: max(value, 0.0) for channel, value in self.values.items()}
        total = sum(positive.values())
        return {name: round(of / total, 12) if total else 0.0 for name, of in positive.items()}


def channel_shares(
    case: PreparedCase,
    models: Sequence[Model],
    masks: Mapping[str, npt.NDArray[np.bool_]],
    device: torch.device,
) -> dict[str, ChannelShares]:
    """Exact Shapley values of the channels of a case, for several regions in one set of passes.

    Args:
        case: The case.
        models: Models with their networks on `device`.
        masks: Mask of each region to explain, on the grid of the scan.
        device: Device of the networks.

    Returns:
        The shares by region.
    """
    raise NotImplementedError
