"""Scores of one case: two label maps, whatever their files are, compared by the name of regions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from volseg import memory
from volseg.cases.case import Case
from volseg.errors import SchemeError, VolsegError
from volseg.images.boxes import bounding_box
from volseg.images.grid import Grid
from volseg.labels import LabelScheme
from volseg.metrics.overlap import region_overlaps
from volseg.metrics.scores import RegionPair
from volseg.metrics.slices import SliceRow, slice_rows
from volseg.metrics.table import ScoreRow, Status

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """A case to score: its two label maps, what their integers mean, why it cannot be scored.

    Attributes:
        case: The case with its reference.
        prediction: One NIfTI file, or a mask for each slice; empty: missing.
        predicted: Label scheme of the prediction.
        expected: That of the reference.
        problem: Why it cannot be scored.
        by_slice: Whether the slices are scored too.
    """

    case: Case
    prediction: tuple[Path, ...]
    predicted: LabelScheme
    expected: LabelScheme
    problem: str | None = None
    by_slice: bool = False

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions that both schemes know."""
        return tuple(name for name in self.expected.regions if name in self.predicted.regions)


@dataclass(frozen=True)
class CaseScores:
    """Rows of one case, and why it could not be scored, if it could not."""

    rows: list[ScoreRow]
    slices: list[SliceRow]
    failure: str | None = None


def score_case(comparison: Comparison) -> CaseScores:
    """Score a case; one that is missing or cannot be scored has rows without scores.

    Raises:
        LabelError: If a label map contradicts its label scheme: one tells of the others as well,
            which would be scored as what they are not.
    """
    if comparison.problem:
        return _unscored(comparison, "failed", comparison.problem)
    if not comparison.prediction:
        return _unscored(comparison, "missing")
    try:
        with memory.in_words(f"case {comparison.case.case_id}"):
            return _scored(comparison)
    except SchemeError as error:
        raise error.of_all(
            comparison.case.case_id,
            "nothing is scored",
            "with --labels (predictions) or --reference-labels",
        ) from None
    except VolsegError as error:
        return _unscored(comparison, "failed", str(error))


def _unscored(comparison: Comparison, status: Status, reason: str | None = None) -> CaseScores:
    case_id = comparison.case.case_id
    rows = [ScoreRow(case_id, name, status=status) for name in comparison.regions]
    return CaseScores(rows, [], reason)


def _scored(comparison: Comparison) -> CaseScores:
    case, files = comparison.case, comparison.prediction
    prediction, grid = case.read_prediction(files)
    reference, reference_grid = case.read_reference()
    for note in case.check_prediction_grid(files, grid, reference_grid):
        logger.info("%s: %s", case.case_id, note)
    return score_label_maps(comparison, prediction, reference, grid)


def score_label_maps(
    comparison: Comparison,
    prediction: npt.NDArray[np.uint8],
    reference: npt.NDArray[np.uint8],
    grid: Grid,
) -> CaseScores:
    """Score the label maps (I, J, K) of a case, once they are read.

    Raises:
        LabelError: If one holds a label that its scheme does not define.
    """
    case, regions = comparison.case, comparison.regions
    # Outside the box both hold background alone, and a tumour fills a small part of a head.
    box = bounding_box(prediction | reference)
    if comparison.by_slice:
        box = (*box[:2], slice(None))
    where = f"prediction {_place(comparison.prediction)}"
    predicted = _masks(prediction[box], comparison.predicted, regions, where)
    where = f"reference {_place(case.label)}"
    expected = _masks(reference[box], comparison.expected, regions, where)
    overlaps = region_overlaps(predicted, expected, regions)
    voxel_ml, steps_mm = (grid.voxel_ml, grid.steps_mm) if case.has_size else (None, None)
    rows = [
        ScoreRow.of(case.case_id, region, RegionPair(overlaps[region], voxel_ml, masks, steps_mm))
        for region, masks in zip(regions, zip(predicted, expected, strict=True), strict=True)
    ]
    slices = slice_rows(case.case_id, predicted, expected, regions) if comparison.by_slice else []
    return CaseScores(rows, slices)


def _place(paths: Sequence[Path]) -> Path:
    """The file, or the folder of several."""
    return paths[0] if len(paths) == 1 else paths[0].parent


def _masks(
    label_map: npt.NDArray[np.uint8], scheme: LabelScheme, regions: Sequence[str], where: str
) -> npt.NDArray[np.bool_]:
    """Masks (R, *shape) of `regions`, in that order."""
    # Files hold their arrays the other way round, and what follows is faster in this order.
    label_map = np.ascontiguousarray(label_map)
    scheme.check(np.flatnonzero(np.bincount(label_map.ravel())), where)
    masks = scheme.masks(label_map)
    return np.stack([masks[region] for region in regions])
