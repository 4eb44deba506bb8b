"""Scores of a case under an official BraTS protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from volseg.metrics.official.program_2017 import score_whole_regions
from volseg.metrics.official.program_2023 import score_lesions
from volseg.metrics.official.program_2026 import score_matches, score_sizes
from volseg.metrics.official.protocol import Program, Protocol
from volseg.metrics.official.protocols import get_protocol
from volseg.metrics.official.region_scores import RegionScores
from volseg.metrics.official.voxels import LabelMap, Spacing
from volseg.words import shown

Counting = Callable[[LabelMap, LabelMap, Spacing, Protocol], dict[str, RegionScores]]


def lesionwise_scores(
    reference: LabelMap,
    prediction: LabelMap,
    spacing_mm: npt.ArrayLike,
    protocol: str | Protocol,
) -> dict[str, RegionScores]:
    """Scores of each region of one case, as the official program of a protocol computes them.

    Args:
        reference: Label map (I, J, K) of the reference, in the label scheme of the protocol.
        prediction: Label map of the prediction, of the same shape and scheme.
        spacing_mm: Voxel size along the three axes in mm. The programs take it from the file of
            the prediction, in single precision, so it is rounded to that here.
        protocol: One of `PROTOCOLS`, or its name, such as `brats2023-gli`.

    Returns:
        Scores, lesions and false positives of each region, in the order of the protocol.

    Raises:
        ConfigError: If there is no protocol of this name.
        SchemeError: If a protocol of 2026 does not know a label; the programs before take it for
            background.
        ValueError: If the label maps are no arrays of integers or not of one shape (I, J, K), or
            there are not three finite sizes above 0.
    """
    rules = protocol if isinstance(protocol, Protocol) else get_protocol(protocol)
    spacing = _sizes(spacing_mm)
    _check(reference, prediction, spacing)
    i, j, k = spacing.tolist()
    return _PROGRAMS[rules.program](reference, prediction, (i, j, k), rules)


#: Function of each program.
_PROGRAMS: Mapping[Program, Counting] = {
    "legacy": score_whole_regions,
    "lesions": score_lesions,
    "panoptic": score_matches,
    "panoptic by size": score_sizes,
}


def _sizes(spacing_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(spacing_mm, dtype=np.float32).astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"three voxel sizes in mm are needed, got {shown(spacing_mm)}") from None


def _check(
    reference: LabelMap,
    prediction: LabelMap,
    spacing: npt.NDArray[np.float64],
) -> None:
    for label_map in (reference, prediction):
        if not isinstance(label_map, np.ndarray):
            raise ValueError(f"label maps must be NumPy arrays, got {type(label_map).__name__}")
    if reference.ndim != 3 or reference.shape != prediction.shape:
        raise ValueError(
            f"label maps must have one shape (I, J, K), got {reference.shape} and "
            f"{prediction.shape}"
        )
    if reference.dtype.kind not in "ui" or prediction.dtype.kind not in "ui":
        raise ValueError(
            f"label maps must hold integers, got {reference.dtype} and {prediction.dtype}"
        )
    if spacing.shape != (3,) or not ((spacing > 0) & np.isfinite(spacing)).all():
        raise ValueError(f"three voxel sizes above 0 are needed, got {spacing.tolist()}")
