"""Occlusion of a case: maps and shares of channels of all its regions, from the same passes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from volseg.attribution.channel_shares import ChannelShares, channel_shares
from volseg.attribution.occlusion import automatic_side, occlusion_maps
from volseg.attribution.target import Target
from volseg.inference.preparing import PreparedCase
from volseg.inference.windows import on_scan_grid
from volseg.model_file import Model


@dataclass(frozen=True, eq=False)
class OccludedCase:
    """What the regions of a case lose if a part of its images is taken away.

    Attributes:
        maps: Occlusion map float32 (I, J, K) of each region, on the grid of the scan; the mean over
            the models.
        shares: Shares of the channels by region.
        box_mm: Side of the boxes.
    """

    maps: Mapping[str, npt.NDArray[np.float32]]
    shares: Mapping[str, ChannelShares]
    box_mm: float

    @classmethod
    def of(
        cls,
        case: PreparedCase,
        models: Sequence[Model],
        masks: Mapping[str, npt.NDArray[np.bool_]],
        device: torch.device,
        box_mm: float | None = None,
        wanted: Collection[str] | None = None,
    ) -> OccludedCase:
        """Occlude a case box by box and channel by channel.

        Args:
            case: The case.
            models: Models with their networks on `device`.
            masks: Mask of each region on the grid of the scan.
            device: Device of the networks.
            box_mm: Side of the boxes; None: as `automatic_side` chooses it for the first model and
                all masks, so that the side does not depend on `wanted`.
            wanted: Regions whose maps are made, of those with a mask; None: all.
        """
        if box_mm is None:
            box_mm = automatic_side(_targets(case, models[0], masks, device))
        masks = {name: of for name, of in masks.items() if wanted is None or name in wanted}
        total = np.zeros((len(masks), *case.grid.shape), np.float32)
        for model in models:
            image = case.images[model.config.preprocessing]
            found = occlusion_maps(_targets(case, model, masks, device), box_mm)
            on_scan = on_scan_grid(torch.from_numpy(found.maps), image.image_grid, case.grid)
            total += on_scan.numpy() / len(models)
        maps = dict(zip(masks, total, strict=True))
        return cls(maps, channel_shares(case, models, masks, device), box_mm)


def _targets(
    case: PreparedCase,
    model: Model,
    masks: Mapping[str, npt.NDArray[np.bool_]],
    device: torch.device,
) -> list[Target]:
    image = case.images[model.config.preprocessing]
    return [Target.of(model, name, image, mask, device) for name, mask in masks.items()]
