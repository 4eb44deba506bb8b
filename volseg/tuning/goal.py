"""The score that is tuned: Dice of volseg, or that of an official protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from volseg.errors import ConfigError, DataListError
from volseg.metrics import get_score
from volseg.metrics.official.protocols import OWN_SCORES, get_protocol
from volseg.tuning.cases import TunedRun
from volseg.tuning.scores import CaseScorer, dice_scorer, lesion_scorer, mask_scorer, score_of


@dataclass(frozen=True)
class Goal:
    """A score and how it is computed.

    Attributes:
        title: Name of the score for readers.
        regions: Names of the scored regions.
        inner: For each region of the model, whether it lies inside another region.
        cuts: Thresholds that the search may need.
        scorer: Scores of a case.
        is_quick: Whether counts of voxels are enough for the score, as for Dice.
    """

    title: str
    regions: tuple[str, ...]
    inner: tuple[bool, ...]
    cuts: tuple[float, ...]
    scorer: CaseScorer
    is_quick: bool

    @classmethod
    def of(cls, name: str, runs: Sequence[TunedRun], cuts: Sequence[float]) -> Self:
        """The goal of a protocol by its name, for runs of the same regions.

        Raises:
            ConfigError: If there is no protocol of this name, or false lesions do not lower it.
            LabelError: If the protocol scores a region that the models lack.
            DataListError: If a case has no known voxel size, which official protocols need.
        """
        scheme = runs[0].header.config.labels
        inner = tuple(scheme.parent(region) is not None for region in scheme.regions)
        if name == OWN_SCORES:
            title, scorer = get_score("dice").title, dice_scorer(scheme, cuts)
            return cls(title, tuple(scheme.regions), inner, tuple(cuts), scorer, True)
        protocol = get_protocol(name)
        if protocol.program == "panoptic":
            raise ConfigError(
                f"the lesion-wise Dice of {name} is a mean over found lesions only, so it may rise "
                "if fewer lesions are found",
                remedy="tune for a protocol of 2023 to 2025, such as brats2025-gli",
            )
        for run in runs:
            for case in run.cases:
                if not case.has_size:
                    raise DataListError(
                        "the voxel size is not known, but official protocols measure lesions in mm",
                        remedy="give it with volseg split --spacing",
                        case_id=case.case_id,
                    )
        (score,) = (one for one in protocol.scores if one.name == score_of(protocol))
        scorer = mask_scorer(scheme, cuts, lesion_scorer(scheme, protocol))
        title = f"{score.title} ({protocol.name})"
        return cls(title, tuple(protocol.regions), inner, tuple(cuts), scorer, False)
