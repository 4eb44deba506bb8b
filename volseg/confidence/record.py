"""Confidence in a result as plain data, as the manifest of results holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from volseg.confidence.predicted_dice import PredictedDice
from volseg.confidence.verdict import CaseConfidence

# Names of the entries, the same as those of `CaseConfidence`.
_PREDICTED_DICE, _LOOK_AT, _UNLIKE = "predicted_dice", "look_at", "unlike_training"


def confidence_record(confidence: CaseConfidence) -> dict[str, Any]:
    """Entries of the record of a result, plain data for JSON; no predicted Dice without a fit."""
    predicted = {region: asdict(of) for region, of in confidence.predicted_dice.items()}
    return {
        **({_PREDICTED_DICE: predicted} if predicted else {}),
        _LOOK_AT: list(confidence.look_at),
        _UNLIKE: list(confidence.unlike_training),
    }


def read_confidence(record: Mapping[str, Any]) -> CaseConfidence:
    """Confidence in the record of a result; of an older record, nothing is known.

    Args:
        record: Record of a manifest, whose reader has checked it.
    """
    predicted = {
        region: PredictedDice(of["dice"], of["low"], of["high"])
        for region, of in record.get(_PREDICTED_DICE, {}).items()
    }
    return CaseConfidence(
        predicted, tuple(record.get(_LOOK_AT, ())), tuple(record.get(_UNLIKE, ()))
    )
