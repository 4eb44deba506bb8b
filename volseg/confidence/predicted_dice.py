"""Predicted Dice of a region without a reference, fitted on cases with references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from volseg.confidence.held_out import HeldOut, measure_held_out
from volseg.errors import ModelError
from volseg.files.documents import validated

#: A case with a lower predicted Dice is worth a look.
LOW_DICE = 0.7

# Weight of the analytic expected Dice, in patients: with fewer patients it decides.
_PRIOR_PATIENTS = 3.0
# Half width of the interval that is expected before any case is seen.
_PRIOR_ERROR = 0.3


@dataclass(frozen=True)
class DiceSample:
    """A region of a case with a reference.

    Attributes:
        case_id: The case.
        patient_id: Its patient; cases of a patient are held out together.
        region: Name of the region.
        features: Features of `confidence.features`.
        dice: True Dice, 0 to 1; 1 if both masks are empty.
    """

    case_id: str
    patient_id: str
    region: str
    features: Mapping[str, float]
    dice: float


@dataclass(frozen=True)
class PredictedDice:
    """Predicted Dice of a region, with the interval of about 80 % of held-out cases.

    A region that was not predicted has Dice 1 if the reference is empty too, else 0: `dice` is then
    the probability that it is empty, and the interval is 0 to 1.
    """

    dice: float
    low: float
    high: float


class _Schema(BaseModel):
    """Entries of a predictor in the header of a model."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    patients: int = Field(ge=1)
    shift: dict[str, float]
    error: float = Field(ge=0)
    held_out: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class DicePredictor:
    """Predicts the Dice of regions from features.

    Attributes:
        patients: Number of patients of the fit.
        shift: Correction of the analytic expected Dice, by region.
        error: Half width of the interval.
        held_out: Agreement with the true Dice in patients that were held out, by region.
    """

    patients: int
    shift: Mapping[str, float]
    error: float
    held_out: Mapping[str, HeldOut]

    @classmethod
    def fit(cls, samples: Sequence[DiceSample]) -> Self:
        """Fit on cases that the model was not trained on.

        The same samples in any order give the same predictor.

        Args:
            samples: At least one sample; all features finite.

        Raises:
            ValueError: If there is no sample.
        """
        if not samples:
            raise ValueError("no sample is given")
        ordered = sorted(samples, key=lambda one: (one.patient_id, one.case_id, one.region))
        fitted = cls._fitted(ordered)
        predicted = np.empty(len(ordered))
        for patient in {one.patient_id for one in ordered}:
            rest = [one for one in ordered if one.patient_id != patient]
            of_rest = cls._fitted(rest)
            for number, one in enumerate(ordered):
                if one.patient_id == patient:
                    predicted[number] = of_rest.predict(one.region, one.features).dice
        held_out = {
            region: measure_held_out(
                [
                    p
                    for p, one in zip(predicted.tolist(), ordered, strict=True)
                    if one.region == region
                ],
                [one.dice for one in ordered if one.region == region],
                [one.patient_id for one in ordered if one.region == region],
            )
            for region in dict.fromkeys(one.region for one in ordered)
        }
        return cls(fitted.patients, fitted.shift, fitted.error, held_out)

    @classmethod
    def _fitted(cls, samples: Sequence[DiceSample]) -> Self:
        shift = {}
        for region in dict.fromkeys(one.region for one in samples):
            errors = [
                one.dice - one.features["expected_dice"] for one in samples if one.region == region
            ]
            shift[region] = sum(errors) / (len(errors) + _PRIOR_PATIENTS)
        residuals = [
            one.dice - one.features["expected_dice"] - shift[one.region] for one in samples
        ]
        spread = sum(r * r for r in residuals) + _PRIOR_PATIENTS * _PRIOR_ERROR**2
        error = 1.28 * (spread / (len(residuals) + _PRIOR_PATIENTS)) ** 0.5
        return cls(len({one.patient_id for one in samples}), shift, error, {})

    def predict(self, region: str, features: Mapping[str, float]) -> PredictedDice:
        """Predicted Dice of a region from the features of `region_features`.

        A region without samples in the fit gets the analytic expected Dice.
        """
        if not features["voxels"]:
            return PredictedDice(1 - min(1.0, features["highest"]), 0.0, 1.0)
        dice = _clipped(features["expected_dice"] + self.shift.get(region, 0.0))
        return PredictedDice(dice, _clipped(dice - self.error), _clipped(dice + self.error))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "patients": self.patients,
            "shift": dict(self.shift),
            "error": self.error,
            "held_out": {region: of.to_dict() for region, of in self.held_out.items()},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], where: str = "the model") -> Self:
        """The predictor that `to_dict` gave.

        Args:
            content: Entry `predicted_dice` of a model's header.
            where: Model file, for errors.

        Raises:
            ModelError: If the content is not as `to_dict` gives it.
        """
        try:
            validated(_Schema, content)
            held_out = {region: HeldOut.from_dict(of) for region, of in content["held_out"].items()}
        except ValueError as error:
            raise ModelError(
                f"predicted_dice in {where} is not as volseg writes it ({error})",
                remedy="run volseg tune again, or copy the file again",
            ) from None
        return cls(content["patients"], content["shift"], content["error"], held_out)


def _clipped(value: float) -> float:
    return min(1.0, max(0.0, value))
