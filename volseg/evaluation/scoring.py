"""Scores of one case: prediction and reference compared by the names of regions."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from volseg import memory
from volseg.errors import SchemeError, VolsegError, of_case
from volseg.evaluation.calibration import Found, calibrate
from volseg.evaluation.official import OfficialScores, official_scores
from volseg.evaluation.pairs import CasePair
from volseg.images.boxes import bounding_box
from volseg.images.grid import Grid
from volseg.labels import LabelScheme
from volseg.metrics.overlap import region_overlaps
from volseg.metrics.scores import RegionPair
from volseg.metrics.slices import SliceRow, slice_rows
from volseg.metrics.table import ScoreRow, Status

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaseScores:
    """Rows of one case, with the reason if it could not be scored, and its official scores.

    With maps of probability, `calibration` is theirs, or the reason why there is none.
    """

    case_id: str
    rows: list[ScoreRow]
    slices: list[SliceRow]
    failure: str | None = None
    official: Mapping[str, OfficialScores] = field(default_factory=dict)
    calibration: Found | None = None

    @property
    def status(self) -> Status:
        """Status of the case, which all its rows have."""
        return self.rows[0].status


def score_case(pair: CasePair) -> CaseScores:
    """Score a case; without a usable prediction and reference its rows have no scores.

    Raises:
        LabelError: If a label map contradicts its label scheme, which makes all cases doubtful.
    """
    if pair.problem:
        return unscored(pair, "failed", pair.problem)
    if not pair.prediction:
        return unscored(pair, "missing")
    try:
        with of_case(pair.case.case_id), memory.in_words():
            return _scored(pair)
    except SchemeError as error:
        raise error.of_all(
            pair.case.case_id,
            "nothing is scored",
            "with --labels (predictions) or --reference-labels",
        ) from None
    except VolsegError as error:
        return unscored(pair, "failed", error.without_case)


def unscored(pair: CasePair, status: Status, reason: str | None = None) -> CaseScores:
    """Rows without scores of a case that is missing or could not be scored."""
    case_id = pair.case.case_id
    rows = [ScoreRow(case_id, name, status=status) for name in pair.regions]
    return CaseScores(case_id, rows, [], reason)


def _scored(pair: CasePair) -> CaseScores:
    case, files = pair.case, pair.prediction
    prediction, grid = case.read_prediction(files)
    reference, reference_grid = case.read_reference()
    for note in case.check_prediction_grid(files, grid, reference_grid):
        logger.info("%s: %s", case.case_id, note)
    scores = score_label_maps(pair, prediction, reference, grid)
    # The labels are checked now.
    return replace(
        scores,
        official=official_scores(pair, prediction, reference, grid),
        calibration=calibrate(pair, reference),
    )


def score_label_maps(
    pair: CasePair,
    prediction: npt.NDArray[np.uint8],
    reference: npt.NDArray[np.uint8],
    grid: Grid,
) -> CaseScores:
    """Score the label maps (I, J, K) of a case, on the same `grid`.

    Raises:
        LabelError: If a label map holds a label that its scheme does not define.
    """
    case, regions = pair.case, pair.regions
    # Outside the box both maps are background; the box is fast, as tumours are small.
    box = bounding_box(prediction | reference)
    if pair.by_slice:
        box = (*box[:2], slice(None))
    where = f"prediction {_place(pair.prediction)}"
    predicted = _masks(prediction[box], pair.predicted_labels, regions, where)
    where = f"reference {_place(case.label)}"
    expected = _masks(reference[box], pair.reference_labels, regions, where)
    overlaps = region_overlaps(predicted, expected)
    voxel_ml, steps_mm = (grid.voxel_ml, grid.steps_mm) if case.has_size else (None, None)
    rows = [
        ScoreRow.of(
            case.case_id,
            region,
            RegionPair(overlap, voxel_ml, (predicted[region], expected[region]), steps_mm),
        )
        for region, overlap in overlaps.items()
    ]
    slices = slice_rows(case.case_id, predicted, expected) if pair.by_slice else []
    return CaseScores(case.case_id, rows, slices)


def _place(paths: Sequence[Path]) -> Path:
    """Path of the only file, or of the folder of several files."""
    return paths[0] if len(paths) == 1 else paths[0].parent


def _masks(
    label_map: npt.NDArray[np.uint8], scheme: LabelScheme, regions: Sequence[str], where: str
) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks of `regions`, in the order of `regions`."""
    # Arrays of NIfTI files are in Fortran order; the steps below are faster in C order.
    label_map = np.ascontiguousarray(label_map)
    scheme.check(np.flatnonzero(np.bincount(label_map.ravel())), where)
    masks = scheme.masks(label_map)
    return {region: masks[region] for region in regions}
