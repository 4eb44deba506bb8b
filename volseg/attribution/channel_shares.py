"""The share of each channel in the probability of each region: exact Shapley values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np
import numpy.typing as npt
import torch

from volseg.attribution.baseline import neutral_image
from volseg.attribution.region_means import Means, RegionMeans
from volseg.attribution.target import Target
from volseg.errors import AttributionError
from volseg.inference.preparing import PreparedCase
from volseg.model_file import Model
from volseg.progress import track

#: More channels take more than 256 passes.
MOST_CHANNELS = 8

Subset = frozenset[str]


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

    The value of a set of channels is the mean probability of the region within its mask when all
    other channels are neutral; see `neutral_image`. A channel that replaces missing channels stands
    for them too. Of several models, the values are means. Four channels take 16 passes over the
    windows that hold a part of a mask.

    Args:
        case: The case.
        models: Models with their networks on `device`.
        masks: Mask of each region to explain, on the grid of the scan.
        device: Device of the networks.

    Returns:
        The shares by region.

    Raises:
        AttributionError: If the case has more than 8 channels.

    References:
        Shapley, "A value for n-person games", 1953; Lundberg and Lee, "A unified approach to
        interpreting model predictions", https://arxiv.org/abs/1705.07874
    """
    names = tuple(dict.fromkeys(name for model in models for name in model.config.data.channels))
    present = tuple(name for name in names if name not in case.missing)
    if len(present) > MOST_CHANNELS:
        raise AttributionError(
            f"case {case.case_id} has {len(present)} channels, but the shares of at most "
            f"{MOST_CHANNELS} are computed, in {2**MOST_CHANNELS} passes",
            remedy="use a method that needs no shares of channels, such as integrated-gradients",
        )
    values = {subset: np.zeros(len(masks)) for subset in _subsets(present)}
    total = len(values) * len(models)
    for subset, means in track(_means(case, models, masks, values, device), "channels", total):
        values[subset] += means / len(models)
    shapley = dict.fromkeys(names, np.zeros(len(masks))) | _shapley(values, present)
    with_all, with_none = values[frozenset(present)], values[frozenset()]
    return {
        region: ChannelShares(
            region,
            {name: float(of[number]) for name, of in shapley.items()},
            float(with_all[number]),
            float(with_none[number]),
        )
        for number, region in enumerate(masks)
    }


def _subsets(channels: Sequence[str]) -> Iterator[Subset]:
    for size in range(len(channels) + 1):
        yield from map(frozenset, combinations(channels, size))


def _means(
    case: PreparedCase,
    models: Sequence[Model],
    masks: Mapping[str, npt.NDArray[np.bool_]],
    subsets: Collection[Subset],
    device: torch.device,
) -> Iterator[tuple[Subset, Means]]:
    """Means of the regions with each subset of the channels, of one model after the other."""
    for model in models:
        image = case.images[model.config.preprocessing]
        targets = [Target.of(model, name, image, mask, device) for name, mask in masks.items()]
        means, whole, neutral = RegionMeans(targets), targets[0].image, neutral_image(targets[0])
        shown = shown_channels(model, case.missing)
        for subset in subsets:
            kept = torch.tensor([name in subset for name in shown])[:, None, None, None]
            yield subset, means.of(torch.where(kept, whole, neutral))


def shown_channels(model: Model, missing: Collection[str]) -> tuple[str | None, ...]:
    """The channel of the case that each input of a model shows; None for zeros."""
    data = model.config.data
    return tuple(data.fill_missing if name in missing else name for name in data.channels)


def _shapley(values: Mapping[Subset, Means], channels: Sequence[str]) -> dict[str, Means]:
    """Mean gain of each channel over all orders in which channels can be added."""
    number = len(channels)

    def gain(channel: str, before: Subset) -> Means:
        orders = factorial(len(before)) * factorial(number - len(before) - 1)
        return (values[before | {channel}] - values[before]) * (orders / factorial(number))

    return {
        channel: np.sum([gain(channel, kept) for kept in values if channel not in kept], axis=0)
        for channel in channels
    }
