"""Agreement of the Dice that `infer` predicted with the Dice that the reference gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from volseg.cases.result_maps import recorded_maps
from volseg.confidence.held_out import BAD_DICE, HeldOut, measure_held_out
from volseg.confidence.record import read_confidence
from volseg.evaluation.pooling import PredictionFolder
from volseg.metrics.statistics import INTERVAL, Interval, mean_intervals
from volseg.metrics.table import ScoreRow, ScoreTable
from volseg.results.journal import RECORDS
from volseg.results.native_files import NATIVE, is_edited, results_of
from volseg.results.trained_cases import OF_FIT, TRAINED_BY
from volseg.words import cases_in_words, some_of

_DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "cases": "scored cases with a predicted Dice, without those whose label maps were edited "
        "or whose patients the model was trained on",
        "edited, trained": "cases that are left out for these reasons",
        "of_fit": "cases of patients that the predicted Dice was fitted on",
        "bad": f"cases with a true Dice below {BAD_DICE:g}",
        "mae": "mean of |predicted - true Dice| over these cases",
        "mae_interval": INTERVAL,
        "spearman": "rank correlation of predicted and true Dice; none if either is constant",
        "auc": "probability that a bad case has a lower predicted Dice than another case",
        "spearman_interval, auc_interval": "95 % percentile bootstrap interval over the patients",
    }
)


@dataclass(frozen=True)
class RegionAgreement:
    """Predicted against true Dice of one region.

    Attributes:
        figures: Numbers of cases, mean absolute difference, rank correlation and AUC.
        mae_interval: 95 % interval of the mean absolute difference.
    """

    figures: HeldOut
    mae_interval: Interval | None


@dataclass(frozen=True)
class DiceAgreement:
    """Predicted against true Dice, by region.

    Attributes:
        regions: Figures of each region; empty without a predicted Dice.
        edited: Cases that are left out, as their label maps were edited after the prediction.
        trained: Cases that are left out, as the model was trained on their patients.
        of_fit: Cases of patients that the predicted Dice was fitted on.
    """

    regions: Mapping[str, RegionAgreement] = field(default_factory=dict)
    edited: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()
    of_fit: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: ScoreTable, folders: Sequence[PredictionFolder]) -> DiceAgreement:
        """The agreement for the scored cases of some folders."""
        predicted: dict[str, dict[str, float]] = {}
        edited, trained, of_fit = [], [], []
        scored = {*table.cases("scored")}
        for folder in folders:
            for case_id in scored.intersection(folder.there):
                record = folder.manifest.get(RECORDS, {}).get(case_id, {})
                found = read_confidence(record).predicted_dice
                if found and _is_edited(folder, record):
                    edited.append(case_id)
                elif found and record.get(TRAINED_BY):
                    trained.append(case_id)
                elif found:
                    of_fit += [case_id] if record.get(OF_FIT) else []
                    predicted[case_id] = {region: of.dice for region, of in found.items()}
        regions = {}
        for region in table.regions:
            rows = [
                row
                for row in table.rows
                if row.region == region
                and row["dice"] is not None
                and region in predicted.get(row.case_id, {})
            ]
            if rows:
                guesses = [predicted[row.case_id][region] for row in rows]
                regions[region] = _of_region(rows, guesses, table.patients)
        return cls(regions, *(tuple(sorted(cases)) for cases in (edited, trained, of_fit)))

    @property
    def notes(self) -> list[str]:
        """Sentences on cases that are left out, or for which the figures are too good."""
        return list(notes_on_agreement(self.to_dict()))

    def to_dict(self) -> dict[str, Any]:
        """Entry of `scores.json`."""
        regions = {
            region: {
                **of.figures.to_dict(),
                "mae_interval": list(of.mae_interval) if of.mae_interval else None,
            }
            for region, of in self.regions.items()
        }
        lists = {name: list(getattr(self, name)) for name in ("edited", "trained", "of_fit")}
        named = {name: cases for name, cases in lists.items() if cases}
        return {"regions": regions, **named, "definitions": dict(_DEFINITIONS)}


def notes_on_agreement(entry: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on cases that are left out of the figures, or make them too good.

    Args:
        entry: Entry of `scores.json`.
    """
    if edited := entry.get("edited"):
        number = cases_in_words(len(edited))
        yield f"Predicted Dice: without {number} whose label maps were edited: {some_of(edited)}"
    if trained := entry.get("trained"):
        yield (
            f"Predicted Dice: without {cases_in_words(len(trained))} whose patients the model was "
            "trained on: "
            f"{some_of(trained)}"
        )
    if of_fit := entry.get("of_fit"):
        yield (
            "These figures are too good, as the predicted Dice was fitted on the patients of "
            f"{cases_in_words(len(of_fit))} of them: {some_of(of_fit)}"
        )


def _of_region(
    rows: Sequence[ScoreRow], predicted: Sequence[float], patients: Mapping[str, str]
) -> RegionAgreement:
    true = [float(row["dice"] or 0) for row in rows]
    of = [patients.get(row.case_id, row.case_id) for row in rows]
    differences = [abs(one - other) for one, other in zip(predicted, true, strict=True)]
    (interval,) = mean_intervals([differences], of)
    return RegionAgreement(measure_held_out(predicted, true, of), interval)


def _is_edited(folder: PredictionFolder, record: Mapping[str, Any]) -> bool:
    """Whether a label map that is scored is no longer the one that `infer` wrote."""
    home = results_of(folder.path)
    is_native = home is not folder.path
    if is_native:
        marks = [*record.get(NATIVE, {}).values()]
    else:
        maps = {*recorded_maps(record)}
        marks = [mark for mark in record.get("files", ()) if mark["file"] not in maps]
    return any(is_edited(home, mark) for mark in marks)
