"""HD95 of the kept model on the validation cases, measured once the training has ended."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from volseg import signals
from volseg.config import ExperimentConfig
from volseg.inference.windows import on_scan_grid, segment
from volseg.metrics import hausdorff_95
from volseg.model_file import load_model
from volseg.training.cache.cases import CachedCase
from volseg.training.scoring import compared_masks, scored_box

logger = logging.getLogger(__name__)

# More cases would take too long for one rank.
_MOST_CASES = 20
# A first case takes this long at most, unless it is very large.
_SECONDS_OF_FIRST = 30.0


def measure_hd95(
    model: Path,
    cases: Sequence[CachedCase],
    config: ExperimentConfig,
    device: torch.device,
    deadline: float = math.inf,
) -> dict[str, float]:
    """Mean HD95 of a model by region, in mm, on the grids of the files.

    Surfaces take too long for each validation, so distances are no scores of a training.

    Args:
        model: Model file.
        cases: Validation cases.
        config: The experiment.
        device: Device to segment on.
        deadline: Reading of `time.monotonic` at which the run must have ended.

    Returns:
        The means; empty for many cases, for cases of unknown size, after a signal and if the time
        is too short. An error is logged, since no run may fail because of a measurement.
    """
    known = all(case.case.has_size for case in cases)
    if not 0 < len(cases) <= _MOST_CASES or not known:
        return {}
    try:
        return _mean_hd95(load_model(model).network.to(device), cases, config, deadline)
    except Exception as error:
        logger.warning("HD95 was not measured: %s", error)
        return {}


def _mean_hd95(
    network: nn.Module, cases: Sequence[CachedCase], config: ExperimentConfig, deadline: float
) -> dict[str, float]:
    """Mean HD95 by region, in mm, of a network in evaluation mode; see `measure_hd95`."""
    found: dict[str, list[float]] = {region: [] for region in config.labels.regions}
    device, longest = next(network.parameters()).device, _SECONDS_OF_FIRST
    for case in cases:
        start = time.monotonic()
        if signals.received() is not None or start + longest > deadline:
            return {}
        probabilities = segment(network, np.asarray(case.image), config, device=device)
        box = scored_box(case, config)
        on_scan = on_scan_grid(probabilities, case.image_grid, case.scan_grid, box).numpy()
        prediction, reference = compared_masks(case, on_scan, box, config)
        for region, values in found.items():
            distance = hausdorff_95(
                prediction=prediction[region],
                reference=reference[region],
                spacing_mm=case.scan_grid.steps_mm,
            )
            values.append(distance)
        longest = max(longest, time.monotonic() - start)
    return {region: float(np.mean(values)) for region, values in found.items()}
