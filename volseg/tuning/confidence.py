"""Temperatures and predicted Dice of tuned models, fitted on the cases of the tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.confidence.dice_fit import DiceSample
from volseg.confidence.features import case_features
from volseg.confidence.predicted_dice import DicePredictor
from volseg.config import InferenceConfig
from volseg.images.boxes import placed
from volseg.labels import LabelScheme
from volseg.metrics import region_overlaps
from volseg.progress import track
from volseg.tuning.cases import TunedRun
from volseg.tuning.decoding import Decoding
from volseg.tuning.gain import how_held_out
from volseg.tuning.levels import CaseLevels, LevelStore
from volseg.tuning.maps import CaseMaps, MapStore
from volseg.tuning.scores import decoded_masks
from volseg.tuning.segmenting import Segmented
from volseg.tuning.temperatures import TemperatureFit, as_option

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Confidence:
    """Temperatures and predicted Dice of tuned models.

    Attributes:
        before: Option `inference.temperature` of the models before any tuning.
        in_files: Temperatures of each region in the model files before this tuning, each once.
        temperatures: Temperature of each region.
        predictor: Predicts the Dice of a case; None if it cannot be fitted.
        reason: Why it cannot be fitted; else empty.
        patients: Number of patients.
        cases: Number of cases.
    """

    before: float | Mapping[str, float]
    in_files: Mapping[str, tuple[float, ...]]
    temperatures: Mapping[str, TemperatureFit]
    predictor: DicePredictor | None
    reason: str
    patients: int
    cases: int

    @property
    def is_fitted(self) -> bool:
        """Whether there is anything to write into a model."""
        return self.predictor is not None or any(not of.reason for of in self.temperatures.values())

    @property
    def knows_copies(self) -> bool:
        """Whether there is a fit of the predicted Dice with mirrored copies."""
        return self.predictor is not None and self.predictor.members is not None

    def calibration(self) -> dict[str, Any]:
        """Entry `calibration` of the header of a model, plain data for JSON."""
        return {
            "patients": self.patients,
            "cases": self.cases,
            "held_out": how_held_out(self.patients),
            "before": {"temperature": _plain(self.before)},
            "regions": {name: of.to_dict() for name, of in self.temperatures.items()},
        }

    @property
    def temperature(self) -> float | dict[str, float]:
        """Option `inference.temperature` of the models."""
        return as_option(self.temperatures)


@dataclass(frozen=True, eq=False)
class TunedCases:
    """Segmented cases with the options of decoding that their labels will have.

    Attributes:
        store: Levels of the cases.
        maps: Maps of the cases.
        segmented: Names, patients, runs and counts of the cases.
        decodings: Options of decoding of each run.
        cuts: Thresholds of the levels.
    """

    store: LevelStore
    maps: MapStore
    segmented: Segmented
    decodings: Mapping[TunedRun, Decoding]
    cuts: Sequence[float]

    def confidence(self, held_out: Sequence[Sequence[int]]) -> Confidence:
        """Fits on all cases; their figures are of patients that were held out.

        Args:
            held_out: Indices of the cases of each fold; together they are all cases.
        """
        runs, patients = self.segmented.runs, self.segmented.patients
        before = runs[0].temperature
        initial = InferenceConfig(temperature=before)
        counts = [
            of_case[self.decodings[run].tta]
            for run, of_case in zip(runs, self.segmented.counts, strict=True)
        ]
        temperatures = {
            region: TemperatureFit.of(
                initial.temperature_of(region), [of[number] for of in counts], held_out
            )
            for number, region in enumerate(runs[0].regions)
        }
        predictor, reason = self._predictor()
        number = len(set(patients)), len(patients)
        return Confidence(before, _in_files(runs), temperatures, predictor, reason, *number)

    def _predictor(self) -> tuple[DicePredictor | None, str]:
        """The predictor of the Dice, and why there is none."""
        samples = self.samples()
        values = {sample.dice for sample in samples}
        if len(values) == 1:
            return None, f"all regions of all cases have the same Dice, {values.pop():.3f}"
        return DicePredictor.fit(samples), ""

    def samples(self) -> list[DiceSample]:
        """Features and true Dice of each region of each case, with and without mirrored copies."""
        done, found = self.segmented, []
        for index, run in track(list(enumerate(done.runs)), "scoring", len(done.runs)):
            levels, maps = self.store.read(index), self.maps.read(index)
            scheme = run.header.config.labels
            for tta in maps.probabilities:
                decoding = replace(self.decodings[run], tta=tta)
                masks = decoded_masks(levels, decoding, scheme, self.cuts)
                dice = _dice(masks, levels, scheme)
                found += [
                    DiceSample(
                        done.cases[index], done.patients[index], region, features, dice[region]
                    )
                    for region, features in _features(masks, levels, maps, tta).items()
                ]
        return found


def _in_files(runs: Sequence[TunedRun]) -> dict[str, tuple[float, ...]]:
    options = [run.header.config.inference for run in runs]
    return {
        region: tuple(dict.fromkeys(one.temperature_of(region) for one in options))
        for region in runs[0].regions
    }


def _plain(temperature: float | Mapping[str, float]) -> float | dict[str, float]:
    return dict(temperature) if isinstance(temperature, Mapping) else temperature


def _dice(masks: Mapping[str, Mask], levels: CaseLevels, scheme: LabelScheme) -> dict[str, float]:
    reference = dict(zip(scheme.regions, levels.reference, strict=True))
    return {region: of.dice for region, of in region_overlaps(masks, reference).items()}


def _features(
    masks: Mapping[str, Mask], levels: CaseLevels, maps: CaseMaps, tta: bool
) -> dict[str, dict[str, float]]:
    """Features of the regions, of masks within the box of the levels."""
    # No mask lies outside the maps, since probabilities are 0 there.
    shape = tuple(max(*pair) for pair in zip(_stops(levels.box), _stops(maps.box), strict=True))
    covered = {name: placed(mask, levels.box, shape)[maps.box] for name, mask in masks.items()}
    spread = maps.disagreement.get(tta)
    disagreement = None if spread is None else spread.values()
    return case_features(maps.probabilities[tta].values(), covered, disagreement, levels.spacing_mm)


def _stops(box: tuple[slice, ...]) -> tuple[int, ...]:
    return tuple(side.stop for side in box)
