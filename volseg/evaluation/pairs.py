"""Pairs to score: cases of the reference with their predictions."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from volseg.cases.case import Case
from volseg.errors import LabelError
from volseg.evaluation.predictions import Prediction
from volseg.evaluation.references import References
from volseg.evaluation.written_maps import WrittenMaps
from volseg.labels import LabelScheme
from volseg.metrics.table import ScoreTable

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CasePair:
    """A case of the reference and its prediction.

    Attributes:
        case: Case with its reference.
        prediction: Path of a NIfTI file, or of a mask for each slice; empty if missing.
        predicted_labels: Label scheme of the prediction.
        reference_labels: Label scheme of the reference.
        problem: Why the case cannot be scored.
        by_slice: Whether slices are scored too.
        protocols: Names of the official protocols that score the case too.
        maps: Maps of probability of the case.
    """

    case: Case
    prediction: tuple[Path, ...]
    predicted_labels: LabelScheme
    reference_labels: LabelScheme
    problem: str | None = None
    by_slice: bool = False
    protocols: tuple[str, ...] = ()
    maps: WrittenMaps | None = None

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of the regions that both schemes define."""
        return tuple(
            name for name in self.reference_labels.regions if name in self.predicted_labels.regions
        )


def pair_up(
    references: References,
    predictions: Mapping[str, Prediction],
    predicted_labels: LabelScheme,
    reference_labels: Mapping[str, LabelScheme],
    *,
    slices: bool,
    protocols: tuple[str, ...] = (),
    maps: Mapping[str, WrittenMaps] = MappingProxyType({}),
) -> list[CasePair]:
    """Pair each case of the reference with its prediction, if there is one.

    Args:
        references: Cases of the reference.
        predictions: Predictions by case id.
        predicted_labels: Label scheme of the predictions.
        reference_labels: Label scheme of the reference by case id.
        slices: Whether slices of volumes are scored too.
        protocols: Names of the official protocols that score the cases too.
        maps: Maps of probability by case id.

    Raises:
        LabelError: If the two schemes of a case share no region.
    """
    pairs = []
    for case in references.found.cases:
        prediction = predictions.get(case.case_id, Prediction())
        problems = [references.problems.get(case.case_id), prediction.problem]
        pairs.append(
            CasePair(
                case,
                prediction.paths,
                predicted_labels,
                reference_labels[case.case_id],
                "; ".join(problem for problem in problems if problem) or None,
                slices or bool(case.slices),
                protocols,
                maps.get(case.case_id),
            )
        )
    _check_regions(pairs)
    return pairs


def _check_regions(pairs: Iterable[CasePair]) -> None:
    """Refuse schemes without a common region; warn of regions that only one scheme has."""
    for pair in {pair.reference_labels.name: pair for pair in pairs}.values():
        predicted, reference = pair.predicted_labels, pair.reference_labels
        sides = (
            f"predictions ({predicted.name}) have {' '.join(predicted.regions)}, "
            f"the reference ({reference.name}) has {' '.join(reference.regions)}"
        )
        if not pair.regions:
            raise LabelError(
                f"no region in common: {sides}", remedy="name the label schemes of both"
            )
        if predicted.regions.keys() ^ reference.regions.keys():
            logger.warning("only %s are scored: %s", " ".join(pair.regions), sides)


def notes_on_pairs(pairs: Sequence[CasePair], table: ScoreTable) -> Iterator[str]:
    """Notes on the label schemes, and on predictions that all equal their references."""
    schemes = {str(pair.reference_labels): None for pair in pairs}
    yield (
        f"labels of the predictions: {pairs[0].predicted_labels}; of the reference: "
        f"{', '.join(schemes)}"
    )
    there = [row["dice"] for row in table.rows if row["reference_voxels"]]
    if there and min(dice or 0.0 for dice in there) == 1:
        yield (
            "every prediction equals its reference voxel by voxel; unless you expect this, one of "
            "them is a copy of the other"
        )
