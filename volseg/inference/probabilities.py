"""Region probabilities of a prepared case: the mean over the models, on the grid of its scans."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from volseg import memory
from volseg.errors import ModelError, of_case
from volseg.images.boxes import union
from volseg.inference.preparing import PreparedCase
from volseg.inference.windows import on_scan_grid, segment
from volseg.model_file import Model
from volseg.transforms import Preprocessed, covered


@dataclass(frozen=True, eq=False)
class CaseProbabilities:
    """A case with its region probabilities.

    Attributes:
        case: The case.
        probabilities: float32 (R, *) within `box`; 0 outside.
        box: Part of the scan.
    """

    case: PreparedCase
    probabilities: npt.NDArray[np.float32]
    box: tuple[slice, ...]


@torch.inference_mode()
def probabilities_of(
    case: PreparedCase,
    models: Sequence[Model],
    regions: Sequence[str],
    device: torch.device,
) -> CaseProbabilities:
    """Mean region probabilities of a case.

    Args:
        case: Case prepared for these models.
        models: Models with their networks on `device`.
        regions: Names of the regions, in the order of the result.
        device: Device of the networks.

    Raises:
        ModelError: If a model gives NaN.
        ResourceError: If the probabilities do not fit into memory.
    """
    # Two thirds of a scan lie outside the brain and are not segmented.
    box = union(covered(image.image_grid, case.grid) for image in case.images.values())
    part = case.grid.crop(box)
    mean = torch.zeros(1)
    for model in models:
        image = case.images[model.config.preprocessing]
        with of_case(case.case_id):
            _require_memory(case, image, len(regions), math.prod(part.shape), device)
            on_its_grid = segment(model.network, image.image, model.config, device=device)
            _check_finite(on_its_grid, model)
        probabilities = on_scan_grid(on_its_grid, image.image_grid, part)
        names = list(model.config.labels.regions)
        order = [names.index(region) for region in regions]
        mean = mean + probabilities[order] / len(models)
    return CaseProbabilities(case, mean.numpy(), box)


def _require_memory(
    case: PreparedCase, image: Preprocessed, regions: int, voxels: int, device: torch.device
) -> None:
    """Refuse a case whose probabilities do not fit into memory, before they are computed."""
    # The mean over the models, and the maps of one model.
    numbers = 2 * regions * voxels
    if device.type == "cpu":
        # In float32: the image, the sums over its windows, and the number of windows per voxel.
        channels, *shape = image.image.shape
        numbers += (channels + regions + 1) * math.prod(shape)
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
