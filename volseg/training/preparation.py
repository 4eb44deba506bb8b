"""Preparation of the cases of a run; cases that cannot be used are named and left out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from volseg.cases.case import Case
from volseg.config import ExperimentConfig
from volseg.errors import DataListError
from volseg.finding.skipped import notes_in_words
from volseg.ranks import rank
from volseg.training.cache.cases import build_cache
from volseg.training.datamodule import VolumeDataModule

logger = logging.getLogger(__name__)

_FAILURES_SHOWN = 20
_NOTES = 20


def prepare_cases(
    training: Sequence[Case], validation: Sequence[Case], config: ExperimentConfig, cache: Path
) -> tuple[VolumeDataModule, tuple[tuple[str, str], ...]]:
    """Data module of the prepared cases, and `(case_id, reason)` of cases that are left out."""
    ready, failures = build_cache([*training, *validation], config, cache)
    if rank() == 0:
        for case_id, reason in failures[:_FAILURES_SHOWN]:
            logger.error("case %s is left out: %s", case_id, reason)
        if len(failures) > _FAILURES_SHOWN:
            logger.error("and %d more cases are left out", len(failures) - _FAILURES_SHOWN)
        for sentence in notes_in_words({one.case.case_id: one.notes for one in ready})[:_NOTES]:
            logger.warning("%s", sentence)
    wanted = {case.case_id for case in validation}
    data = VolumeDataModule(
        config,
        [case for case in ready if case.case.case_id not in wanted],
        [case for case in ready if case.case.case_id in wanted],
    )
    if not data.training or (wanted and not data.validation):
        raise DataListError(
            f"no case is left to {'validate on' if data.training else 'train on'}",
            remedy=f"the first of {len(failures)} problems: {failures[0][1]}",
        )
    return data, failures
