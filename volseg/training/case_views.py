"""Views of validation cases, for figures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from volseg.config import ExperimentConfig
from volseg.figures.case_view import CaseView
from volseg.figures.planes import slice_numbers
from volseg.images.grid import Grid
from volseg.inference.windows import segment
from volseg.labels import Masks
from volseg.postprocess import decode
from volseg.training.cache.cases import CachedCase
from volseg.training.datamodule import masks_of


def decoded_masks(
    probabilities: npt.NDArray[np.float32], config: ExperimentConfig, voxel_ml: float
) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks (I, J, K) of each region, as `infer` would write them."""
    return decode(probabilities, config.labels, config.inference, voxel_mm3=voxel_ml * 1000)


def axial(masks: Masks, grid: Grid) -> Masks:
    """Masks (I, J, K) with the axial axis of `grid` moved to the last place."""
    return {region: np.moveaxis(mask, grid.axial_axis, -1) for region, mask in masks.items()}


def cached_view(
    case: CachedCase, probabilities: npt.NDArray[np.float32], config: ExperimentConfig
) -> CaseView:
    """View of a case on the grid of the network.

    Args:
        case: Image and reference.
        probabilities: (R, I, J, K) on the grid of the cached image.
        config: The experiment, which names channels and regions.
    """
    image, regions = np.asarray(case.image), tuple(config.labels.regions)
    return CaseView(
        images=dict(zip(config.data.channels, image, strict=True)),
        reference=dict(zip(regions, masks_of(case.bits, len(regions)), strict=True)),
        prediction=decoded_masks(probabilities, config, case.image_grid.voxel_ml),
        name=case.case.case_id,
        spacing_mm=case.image_grid.spacing_mm,
        numbers=slice_numbers(case.image_grid, case.scan_grid),
        is_oriented=case.case.is_oriented,
    )


def segmented_view(
    case: CachedCase, network: nn.Module, config: ExperimentConfig, device: torch.device
) -> CaseView:
    """View of a cached case that a network in evaluation mode segments."""
    probabilities = segment(network, np.asarray(case.image), config, device=device)
    return cached_view(case, probabilities.cpu().numpy(), config)
