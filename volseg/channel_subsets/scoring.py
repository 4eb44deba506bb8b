"""Scores of cases with each subset of channels: read once, segmented once a subset."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from volseg import memory
from volseg.cases.case import Case
from volseg.channel_subsets.choice import Subset
from volseg.channel_subsets.reduced_case import ReducedCase
from volseg.errors import VolsegError, of_case
from volseg.images.boxes import bounding_box
from volseg.images.case_images import CaseImages
from volseg.images.grid import Grid, check_same_grid
from volseg.inference.predictor import Predictor
from volseg.inference.preparing import prepare_case
from volseg.labels import LabelScheme
from volseg.metrics.overlap import region_overlaps
from volseg.metrics.scores import RegionPair
from volseg.metrics.table import ScoreRow, Status
from volseg.progress import track

logger = logging.getLogger(__name__)


@dataclass
class SubsetRows:
    """Rows of scores of each subset.

    Attributes:
        rows: Rows by subset; a case that lacks a channel of the subset has the status `missing`.
        failures: Why a case could not be scored, by case id; or by case id and subset.
    """

    rows: dict[Subset, list[ScoreRow]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def score_subsets(
    cases: Sequence[Case],
    predictor: Predictor,
    subsets: Sequence[Subset],
    schemes: Mapping[str, LabelScheme],
) -> SubsetRows:
    """Segment each case with each subset of its channels, as `infer` would, and score it.

    A case that fails is named, and the next case or subset begins.

    Args:
        cases: Cases with a label map.
        predictor: The models.
        subsets: Channels that are kept each time.
        schemes: Label scheme of the label map by case id.
    """
    done = SubsetRows({subset: [] for subset in subsets})
    waiting = ((case, subset) for case in cases for subset in subsets)
    read: _ReadCase | None = None
    for case, subset in track(waiting, "segmenting", len(cases) * len(subsets)):
        if read is None or read.case is not case:
            # The images of the case before are freed.
            read = _ReadCase(case, predictor, schemes[case.case_id])
        done.rows[subset] += _rows(read, subset, done.failures)
    return done


def _rows(read: _ReadCase, subset: Subset, failures: dict[str, str]) -> list[ScoreRow]:
    case_id = read.case.case_id
    if not set(subset) <= set(read.case.channels):
        return read.unscored("missing")
    if case_id in failures:
        return read.unscored("failed")
    name = case_id
    try:
        with of_case(case_id), memory.in_words():
            read.check()
            name = f"{case_id} with {' '.join(subset)}"
            return read.scored(subset)
    except VolsegError as error:
        failures[name] = error.without_case
        logger.error("%s failed: %s", name, error.without_case)
        return read.unscored("failed")


class _ReadCase:
    """A case whose images and label map are read at the first use."""

    def __init__(self, case: Case, predictor: Predictor, scheme: LabelScheme) -> None:
        self.case, self.predictor, self.scheme = case, predictor, scheme
        self.held = tuple(name for name in predictor.channels if name in case.channels)
        self.regions = [name for name in predictor.scheme.regions if name in scheme.regions]

    def check(self) -> None:
        """Read the case; raises the errors of its files."""
        _, grid = self._reference
        check_same_grid({"image": self._images.grid, f"label map of {self.case.case_id}": grid})

    def unscored(self, status: Status) -> list[ScoreRow]:
        """Rows without scores."""
        return [ScoreRow(self.case.case_id, region, status=status) for region in self.regions]

    def scored(self, subset: Subset) -> list[ScoreRow]:
        """Rows of scores for a subset of the channels."""
        predictor = self.predictor
        reduced = ReducedCase(self.case, self._images, self.held, subset)
        configs = [model.config for model in predictor.models]
        prepared = prepare_case(reduced, configs, logs=False)
        label_map = predictor.decode(predictor.probabilities(prepared)).label_map
        box = bounding_box(label_map | self._reference[0])
        predicted = self._masks(label_map[box], predictor.scheme)
        expected = self._masks(self._reference[0][box], self.scheme)
        return [
            ScoreRow.of(self.case.case_id, region, RegionPair(overlap))
            for region, overlap in region_overlaps(predicted, expected).items()
        ]

    @cached_property
    def _images(self) -> CaseImages:
        return self.case.read_images(self.held)

    @cached_property
    def _reference(self) -> tuple[npt.NDArray[np.uint8], Grid]:
        label_map, grid = self.case.read_reference()
        self.scheme.check(np.unique(label_map), f"reference {self.case.label[0]}")
        return label_map, grid

    def _masks(
        self, label_map: npt.NDArray[np.uint8], scheme: LabelScheme
    ) -> dict[str, npt.NDArray[np.bool_]]:
        masks = scheme.masks(np.ascontiguousarray(label_map))
        return {region: masks[region] for region in self.regions}
