"""Segmentation of the cases of runs, with and without test-time augmentation, into a store."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from volseg import memory
from volseg.cases.case import Case
from volseg.cases.identity import patient_key
from volseg.errors import VolsegError, of_case
from volseg.inference.ensemble import overridden
from volseg.inference.predictor import Predictor
from volseg.inference.probabilities import probabilities_of
from volseg.progress import track
from volseg.training.cache.case_arrays import read_masks
from volseg.tuning.cases import TunedRun
from volseg.tuning.levels import CaseLevels, LevelStore

logger = logging.getLogger(__name__)


@dataclass
class Segmented:
    """The cases of a store.

    Attributes:
        cases: Names of the cases.
        patients: Patient of each case.
        failures: Reason of each case that failed.
    """

    cases: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def segment_runs(
    runs: Sequence[TunedRun],
    store: LevelStore,
    cuts: Sequence[float],
    ttas: Sequence[bool],
    device: str,
) -> Segmented:
    """Segment the cases of each run with its model; a case that fails is named and left out.

    Args:
        runs: The runs, of the same regions.
        store: Store that takes the cases.
        cuts: Thresholds of the levels.
        ttas: Whether to average over mirrored copies: each is segmented.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        ModelError: If a model cannot be used.
        ConfigError: If the device cannot be used.
    """
    done = Segmented()
    waiting = ((run, case) for run in runs for case in run.cases)
    predictors: dict[TunedRun, Predictor] = {}
    for run, case in track(waiting, "segmenting", sum(len(run.cases) for run in runs)):
        if run not in predictors:
            # The network of the run before is freed.
            predictors = {run: Predictor(run.header.file, device)}
            predictors[run].warn()
        try:
            with of_case(case.case_id), memory.in_words():
                store.add(_levels(predictors[run], case, cuts, ttas))
        except VolsegError as error:
            done.failures[case.case_id] = error.without_case
            logger.error("%s failed: %s", case.case_id, error.without_case)
            continue
        done.cases.append(case.case_id)
        done.patients.append(patient_key(case.patient_id))
    return done


def _levels(
    predictor: Predictor, case: Case, cuts: Sequence[float], ttas: Sequence[bool]
) -> CaseLevels:
    prepared = predictor.prepare(case)
    (model,) = predictor.models
    masks = read_masks(case, model.config, prepared.grid)
    found = {}
    for tta in ttas:
        models = [overridden(model, {"tta": tta})]
        scored = probabilities_of(prepared, models, predictor.regions, predictor.device)
        whole = np.zeros((len(masks), *prepared.grid.shape), np.float32)
        whole[(slice(None), *scored.box)] = scored.probabilities
        found[tta] = whole
    return CaseLevels.of(found, masks, model.config.labels, cuts, prepared.grid.spacing_mm)
