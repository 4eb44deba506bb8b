"""Confidence in a prediction: the fit of the first model for its Dice, and what its images say."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from volseg.confidence.features import case_features
from volseg.confidence.predicted_dice import DicePredictor
from volseg.confidence.verdict import CaseConfidence, FoundRegion, judge
from volseg.config import ExperimentConfig
from volseg.inference.ensemble import options_of_first
from volseg.inference.probabilities import CaseProbabilities, number_of_copies
from volseg.labels import Masks
from volseg.model_file import Model
from volseg.words import cases_in_words, shown

# It changes probabilities that are written, but no label map.
_WITHOUT_EFFECT = {"inference.temperature"}


@dataclass(frozen=True)
class Assessor:
    """Judges how far predictions can be trusted.

    Attributes:
        fit: Fit of the first model for the predicted Dice; None if it has none.
        notes: Why the predicted Dice may be off for all cases, a sentence each.
    """

    fit: DicePredictor | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, stored: Sequence[Model], used: Sequence[Model]) -> Self:
        """The assessor of models.

        Args:
            stored: The models with the options of their files, which the fit is for.
            used: The same models with the options in use.

        Raises:
            ModelError: If the fit of the first model is not as volseg writes it.
        """
        first = stored[0]
        if first.predicted_dice is None:
            return cls()
        regions = tuple(first.config.labels.regions)
        fit = DicePredictor.from_dict(first.predicted_dice, str(first.path), regions)
        notes = *_other_fits(stored), *_other_options(first, used[0]), *_limits(fit, used)
        return cls(fit, notes)

    @property
    def uses_disagreement(self) -> bool:
        """Whether the fit also knows the disagreement of mirrored copies or models."""
        return self.fit is not None and self.fit.members is not None

    def is_fitted_on(self, patient_id: str) -> bool:
        """Whether the predicted Dice was fitted on cases of a patient, by name."""
        return self.fit is not None and self.fit.is_fitted_on(patient_id)

    def assess(
        self,
        scored: CaseProbabilities,
        masks: Masks,
        config: ExperimentConfig,
        written: Collection[str],
        share_of_tissue: float,
    ) -> CaseConfidence:
        """Confidence in the prediction of a case.

        Args:
            scored: Probabilities of the regions.
            masks: Mask of each region, in their order.
            config: Thresholds of the regions.
            written: Regions of the label map.
            share_of_tissue: Share of the tissue that the label map fills.
        """
        case = scored.case
        found = [
            FoundRegion(
                region,
                not mask.any(),
                float(probability.max(initial=0)),
                config.inference.threshold_of(region),
            )
            for (region, mask), probability in zip(masks.items(), scored.probabilities, strict=True)
            if region in written
        ]
        predicted = {}
        if self.fit is not None:
            spacing = case.grid.spacing_mm
            features = case_features(scored.probabilities, masks, scored.disagreement, spacing)
            predicted = {
                region: self.fit.predict(region, of)
                for region, of in features.items()
                if region in written
            }
        return judge(
            *(predicted, case.unlike_training, found, case.missing, share_of_tissue),
            is_slice=len(case.case.slices) == 1,
        )


def _limits(fit: DicePredictor, used: Sequence[Model]) -> Iterator[str]:
    copies = number_of_copies(used)
    if copies > 1 and fit.members is None:
        yield (
            f"the predicted Dice was fitted without mirrored copies, but {copies} copies or models "
            "are averaged"
        )
    held_out = fit.held_out_members if copies > 1 and fit.members else fit.held_out
    unknown, doubtful = [], []
    for region, of in held_out.items():
        if of.spearman is None or of.spearman_interval is None:
            unknown.append(f"{region} ({cases_in_words(of.cases)})")
        elif of.spearman_interval[0] <= 0:
            doubtful.append(f"{region} (Spearman {of.spearman:.2f} in {cases_in_words(of.cases)})")
    if unknown:
        yield (
            "whether the predicted Dice orders cases is not known, as the patients of its fit are "
            f"too few or too similar: {', '.join(unknown)}"
        )
    if doubtful:
        yield (
            "the predicted Dice may be no better than chance in held-out patients of its fit: "
            f"{', '.join(doubtful)}"
        )


def _other_fits(models: Sequence[Model]) -> Iterator[str]:
    first = models[0]
    for model in models[1:]:
        if model.predicted_dice != first.predicted_dice:
            has = "no fit" if model.predicted_dice is None else "another fit"
            yield f"the predicted Dice is by the fit in {first.path}, but {model.path} has {has}"


def _other_options(stored: Model, used: Model) -> Iterator[str]:
    fitted: Mapping[str, Any] = options_of_first(stored)
    for key, value in options_of_first(used).items():
        if value != fitted[key] and key not in _WITHOUT_EFFECT:
            yield (
                f"the predicted Dice was fitted with {key} {shown(fitted[key])}, but "
                f"{shown(value)} is used"
            )
