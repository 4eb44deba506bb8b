"""Region probabilities of a prepared case: the mean over the models, on the grid of its scans."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from volseg import memory
from volseg.errors import ModelError, of_case
from volseg.images.boxes import union
from volseg.inference.preparing import PreparedCase
from volseg.inference.spread import Spread
from volseg.inference.windows import on_scan_grid, segment, segment_with_disagreement
from volseg.model_file import Model
from volseg.transforms import Preprocessed, covered


class _Maps(NamedTuple):
    """Maps of all regions in memory at once."""

    on_scan_grid: int
    in_windows: int


# The mean over the models and the maps of one model; also their standard deviation, and the mean,
# squares and step of `Spread`.
_MAPS, _MAPS_WITH_SPREAD = _Maps(2, 1), _Maps(6, 2)


@dataclass(frozen=True, eq=False)
class CaseProbabilities:
    """A case with its region probabilities.

    Attributes:
        case: The case.
        probabilities: float32 (R, *) within `box`; 0 outside.
        box: Part of the scan.
        disagreement: Standard deviation of the probabilities over all mirrored copies of all
            models, float32 (R, *) within `box`, from 0 to 0.5; 0 outside. None with a single
            copy, or if it is not wanted. See `probabilities_of`.
    """

    case: PreparedCase
    probabilities: npt.NDArray[np.float32]
    box: tuple[slice, ...]
    disagreement: npt.NDArray[np.float32] | None = None


@torch.inference_mode()
def probabilities_of(
    case: PreparedCase,
    models: Sequence[Model],
    regions: Sequence[str],
    device: torch.device,
    *,
    disagreement: bool = False,
) -> CaseProbabilities:
    """Mean region probabilities of a case, and the disagreement of what is averaged.

    The disagreement of a voxel is the standard deviation (of the population) over the mirrored
    copies of all models, with the weights of the mean: each model weighs the same, and so does
    each copy of a model. Windows are blended, and maps resampled, after the standard deviation
    over the copies of a model; see `segment_with_disagreement`.

    Args:
        case: Case prepared for these models.
        models: Models with their networks on `device`.
        regions: Names of the regions, in the order of the result.
        device: Device of the networks.
        disagreement: Whether to compute the disagreement; the probabilities are the same to the
            bit.

    Raises:
        ModelError: If a model gives NaN.
        ResourceError: If the probabilities do not fit into memory.
    """
    # Two thirds of a scan lie outside the brain and are not segmented.
    box = union(covered(image.image_grid, case.grid) for image in case.images.values())
    part = case.grid.crop(box)
    mean = torch.zeros(1)
    spread = Spread() if disagreement and number_of_copies(models) > 1 else None
    maps = _MAPS_WITH_SPREAD if spread else _MAPS
    for model in models:
        image = case.images[model.config.preprocessing]
        with of_case(case.case_id):
            _require_memory(case, image, len(regions), maps, math.prod(part.shape), device)
            found = _segmented(model, image, device, spreads=spread is not None)
            _check_finite(found[0], model)
        names = list(model.config.labels.regions)
        order = [names.index(region) for region in regions]
        probabilities, *within = (
            on_scan_grid(each, image.image_grid, part)[order] for each in found
        )
        mean = mean + probabilities / len(models)
        if spread:
            spread.add(probabilities, *within)
    found_spread = spread.standard_deviation().numpy() if spread else None
    return CaseProbabilities(case, mean.numpy(), box, found_spread)


def number_of_copies(models: Sequence[Model]) -> int:
    """Number of maps that the mean is of: mirrored copies of all models, itself counted."""
    configs = [model.config for model in models]
    return sum(2**config.spatial_dims if config.inference.tta else 1 for config in configs)


def _segmented(
    model: Model, image: Preprocessed, device: torch.device, *, spreads: bool
) -> list[torch.Tensor]:
    """Probabilities of one model and, if wanted and it mirrors the image, their disagreement."""
    if not spreads:
        return [segment(model.network, image.image, model.config, device=device)]
    maps = segment_with_disagreement(model.network, image.image, model.config, device=device)
    return [each for each in maps if each is not None]


def _require_memory(
    case: PreparedCase,
    image: Preprocessed,
    regions: int,
    maps: _Maps,
    voxels: int,
    device: torch.device,
) -> None:
    """Refuse a case whose probabilities do not fit into memory, before they are computed."""
    numbers = maps.on_scan_grid * regions * voxels
    if device.type == "cpu":
        # In float32: the image, and for each map the sums over its windows and the number of
        # windows per voxel.
        channels, *shape = image.image.shape
        numbers += (channels + maps.in_windows * (regions + 1)) * math.prod(shape)
    size = case.grid.shape_in_words
    memory.require(
        4 * numbers,
        f"probabilities of {regions} regions of {size} voxels",
    )


def _check_finite(probabilities: torch.Tensor, model: Model) -> None:
    """Refuse NaN, which would give an empty label map, since NaN is above no threshold."""
    # All values are at most 1, so the sum is finite unless a value is NaN.
    if torch.isfinite(probabilities.sum()):
        return
    lost = int((~torch.isfinite(probabilities)).sum())
    raise ModelError(
        f"{model.path} gives probabilities that are no numbers, {lost} of {probabilities.numel()}",
        remedy="use inference.precision=32, and look at the grey values of its images",
    )
