"""Agreement of the Dice that `infer` predicted with the Dice that the reference gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

_DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "cases": "scored cases with a predicted Dice, without those of label maps that were edited",
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
    """

    regions: Mapping[str, RegionAgreement] = field(default_factory=dict)
    edited: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: ScoreTable, folders: Sequence[PredictionFolder]) -> DiceAgreement:
        """The agreement for the scored cases of some folders."""
        predicted: dict[str, dict[str, float]] = {}
        edited: list[str] = []
        scored = {*table.cases("scored")}
        for folder in folders:
            for case_id in scored.intersection(folder.there):
                record = folder.manifest.get(RECORDS, {}).get(case_id, {})
                found = read_confidence(record).predicted_dice
                if found and _is_edited(folder, record):
                    edited.append(case_id)
                elif found:
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
        return cls(regions, tuple(sorted(edited)))

    def to_dict(self) -> dict[str, Any]:
        """Entry of `scores.json`."""
        regions = {
            region: {
                **of.figures.to_dict(),
                "mae_interval": list(of.mae_interval) if of.mae_interval else None,
            }
            for region, of in self.regions.items()
        }
        edited = {"edited": list(self.edited)} if self.edited else {}
        return {"regions": regions, **edited, "definitions": dict(_DEFINITIONS)}


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
