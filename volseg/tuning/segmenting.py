"""Segmentation of the cases of runs, with and without test-time augmentation, into a store."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from volseg import memory
from volseg.cases.case import Case
from volseg.cases.identity import patient_key
from volseg.confidence.temperature import LogitCounts
from volseg.errors import VolsegError, of_case
from volseg.inference.ensemble import overridden
from volseg.inference.predictor import Predictor
from volseg.inference.probabilities import probabilities_of
from volseg.progress import track
from volseg.training.cache.case_arrays import read_masks
from volseg.tuning.cases import TunedRun
from volseg.tuning.levels import CaseLevels, LevelStore
from volseg.tuning.maps import CaseMaps, MapStore

logger = logging.getLogger(__name__)


#: Counts of the regions of a case, under True of means over mirrored copies.
Counts = Mapping[bool, Sequence[LogitCounts]]


@dataclass
class Segmented:
    """The cases of a store.

    Attributes:
        cases: Names of the cases.
        patients: Patient of each case.
        runs: Run whose model segmented each case.
        counts: Counts of logits of each case.
        failures: Reason of each case that failed.
    """

    cases: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    runs: list[TunedRun] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def segment_runs(
    runs: Sequence[TunedRun],
    store: LevelStore,
    maps: MapStore,
    cuts: Sequence[float],
    ttas: Sequence[bool],
    device: str,
) -> Segmented:
    """Segment the cases of each run with its model; a case that fails is named and left out.

    Args:
        runs: The runs, of the same regions.
        store: Store that takes the cases.
        maps: Store that takes their maps.
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
                levels, case_maps, counts = _segmented(predictors[run], case, cuts, ttas)
                maps.write(len(store), case_maps)
                store.add(levels)
        except VolsegError as error:
            done.failures[case.case_id] = error.without_case
            logger.error("%s failed: %s", case.case_id, error.without_case)
            continue
        done.cases.append(case.case_id)
        done.patients.append(patient_key(case.patient_id))
        done.runs.append(run)
        done.counts.append(counts)
    return done


def _segmented(
    predictor: Predictor, case: Case, cuts: Sequence[float], ttas: Sequence[bool]
) -> tuple[CaseLevels, CaseMaps, Counts]:
    prepared = predictor.prepare(case)
    (model,) = predictor.models
    masks = read_masks(case, model.config, prepared.grid)
    found, kept, counts = {}, CaseMaps(()), {}
    for tta in ttas:
        models = [overridden(model, {"tta": tta})]
        scored = probabilities_of(
            prepared, models, predictor.regions, predictor.device, disagreement=tta
        )
        kept.box = scored.box
        kept.add(tta, scored.probabilities, scored.disagreement)
        whole = np.zeros((len(masks), *prepared.grid.shape), np.float32)
        whole[(slice(None), *scored.box)] = scored.probabilities
        found[tta] = whole
        counts[tta] = [LogitCounts.of(*pair) for pair in zip(whole, masks, strict=True)]
    spacing_mm = prepared.grid.spacing_mm
    return CaseLevels.of(found, masks, model.config.labels, cuts, spacing_mm), kept, counts
