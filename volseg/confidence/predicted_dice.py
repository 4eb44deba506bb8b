"""Predicted Dice of a region without a reference, fitted on cases with references."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from volseg.cases.identity import patient_key
from volseg.confidence.dice_fit import DiceFit, DiceSample
from volseg.confidence.features import OF_DISAGREEMENT, OF_PROBABILITIES
from volseg.confidence.held_out import BAD_DICE, HeldOut, measure_held_out
from volseg.errors import ModelError
from volseg.files.documents import validated

#: A case with a lower predicted Dice is worth a look.
LOW_DICE = BAD_DICE

# Up to so many patients, each is held out alone; more are held out in as many folds.
_MOST_FOLDS = 20
# Hexadecimal digits of the mark of a patient.
_MARK = 16


@dataclass(frozen=True)
class PredictedDice:
    """Predicted Dice of a region, with an interval for about 80 % of new cases.

    A region that was not predicted has Dice 1 if the reference is empty too, else 0: `dice` is then
    the probability that it is empty, and the interval is 0 to 1.
    """

    dice: float
    low: float
    high: float


class _Schema(BaseModel):
    """Entries of a predictor in the header of a model."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    single: dict[str, Any]
    members: dict[str, Any] | None
    held_out: dict[str, dict[str, Any]]
    held_out_members: dict[str, dict[str, Any]]
    patients: list[str] = []


@dataclass(frozen=True)
class DicePredictor:
    """Predicts the Dice of regions from features.

    Attributes:
        single: Fit without the disagreement of members.
        members: Fit with the disagreement of mirrored copies or models; None if no sample has it.
        held_out: Figures of `single` for patients that were held out, by region.
        held_out_members: Figures of `members`; empty without it.
        patients: Marks of the patients of the fit, without their names.
    """

    single: DiceFit
    members: DiceFit | None
    held_out: Mapping[str, HeldOut]
    held_out_members: Mapping[str, HeldOut]
    patients: tuple[str, ...] = ()

    @classmethod
    def fit(cls, samples: Sequence[DiceSample]) -> Self:
        """Fit on cases that the model was not trained on.

        A case may be given twice: with and without the disagreement of members. `single` is fitted
        on samples without it, or on all if all have it. The order of the samples does not matter.

        Args:
            samples: At least one sample.

        Raises:
            ValueError: If there is no sample.
        """
        if not samples:
            raise ValueError("no sample is given")
        ordered = sorted(samples, key=lambda one: (one.patient_id, one.case_id, one.region))
        several = [one for one in ordered if OF_DISAGREEMENT in one.features]
        alone = [one for one in ordered if OF_DISAGREEMENT not in one.features]
        single, held_out = _fitted(alone or several, OF_PROBABILITIES)
        members: DiceFit | None = None
        of_members: dict[str, HeldOut] = {}
        if several:
            members, of_members = _fitted(several, (*OF_PROBABILITIES, OF_DISAGREEMENT))
        patients = sorted({_mark(one.patient_id) for one in samples})
        return cls(single, members, held_out, of_members, tuple(patients))

    def is_fitted_on(self, patient_id: str) -> bool:
        """Whether the fit has cases of a patient, by name."""
        return _mark(patient_id) in self.patients

    def predict(self, region: str, features: Mapping[str, float]) -> PredictedDice:
        """Predicted Dice of a region from the features of `case_features`.

        A region without samples in the fit is predicted as a mean region.
        """
        fit = self.members if OF_DISAGREEMENT in features else None
        fit = self.single if fit is None else fit
        return PredictedDice(*fit.predict(region, features))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "single": self.single.to_dict(),
            "members": None if self.members is None else self.members.to_dict(),
            "held_out": _plain(self.held_out),
            "held_out_members": _plain(self.held_out_members),
            "patients": list(self.patients),
        }

    @classmethod
    def from_dict(
        cls,
        content: Mapping[str, Any],
        where: str = "the model",
        regions: Collection[str] | None = None,
    ) -> Self:
        """The predictor that `to_dict` gave.

        Args:
            content: Entry `predicted_dice` of a model's header.
            where: Model file, for errors.
            regions: Regions of the model; None: not known.

        Raises:
            ModelError: If the content is not as `to_dict` gives it, or of other regions.
        """
        try:
            of = validated(_Schema, content)
            if regions is not None:
                _check_regions(of, regions)
            members = of["members"]
            return cls(
                DiceFit.from_dict(of["single"], OF_PROBABILITIES),
                None
                if members is None
                else DiceFit.from_dict(members, (*OF_PROBABILITIES, OF_DISAGREEMENT)),
                {region: HeldOut.from_dict(one) for region, one in of["held_out"].items()},
                {region: HeldOut.from_dict(one) for region, one in of["held_out_members"].items()},
                tuple(of.get("patients", ())),
            )
        except ValueError as error:
            raise ModelError(
                f"predicted_dice in {where} is not as volseg writes it ({error})",
                remedy="run volseg tune again, or copy the file again",
            ) from None


def _mark(patient_id: str) -> str:
    """Mark of a patient, the same for all names that are known to mean one person."""
    key = patient_key(patient_id).encode(errors="surrogateescape")
    return hashlib.sha256(key).hexdigest()[:_MARK]


def _check_regions(content: Mapping[str, Any], regions: Collection[str]) -> None:
    for entry in ("held_out", "held_out_members"):
        other = [region for region in content[entry] if region not in regions]
        if other:
            raise ValueError(f"{entry} is of {other[0]}, but the model has {' '.join(regions)}")


def _plain(held_out: Mapping[str, HeldOut]) -> dict[str, Any]:
    return {region: of.to_dict() for region, of in held_out.items()}


def _fitted(
    samples: Sequence[DiceSample], names: Sequence[str]
) -> tuple[DiceFit, dict[str, HeldOut]]:
    """Fit on sorted samples, and its figures for held-out patients, by region."""
    predicted = [0.0] * len(samples)
    for fold in _folds([one.patient_id for one in samples]):
        rest = [one for one in samples if one.patient_id not in fold]
        of_rest = DiceFit.of(rest, names, [])
        for number, one in enumerate(samples):
            if one.patient_id in fold:
                predicted[number], *_ = of_rest.predict(one.region, one.features)
    errors = [
        (one.region, one.dice - value)
        for one, value in zip(samples, predicted, strict=True)
        if one.features["voxels"]
    ]
    held_out = {}
    for region in sorted({one.region for one in samples}):
        own = [number for number, one in enumerate(samples) if one.region == region]
        held_out[region] = measure_held_out(
            [predicted[number] for number in own],
            [samples[number].dice for number in own],
            [samples[number].patient_id for number in own],
        )
    return DiceFit.of(samples, names, errors), held_out


def _folds(patients: Sequence[str]) -> list[set[str]]:
    """Patients to hold out together."""
    order = list(dict.fromkeys(patients))
    return [set(order[start::_MOST_FOLDS]) for start in range(min(_MOST_FOLDS, len(order)))]
