"""Scores of the official protocols: names, titles and definitions."""

from __future__ import annotations

from volseg.metrics.scores import Score

#: Tolerances of the surface Dice of 2025 in mm.
TOLERANCES_MM = (0.5, 1.0)


def _ratio(name: str, title: str, definition: str) -> Score:
    return Score(name, title, definition, best=1, worst=0)


_MEAN = "sum over the lesions that count / (their number + false positives), 1 if both are 0"


def _lesions(penalty_mm: float | None) -> tuple[Score, ...]:
    return (
        _ratio("lesion_dice", "lesion-wise Dice", f"Dice: {_MEAN}; a missed lesion has 0"),
        Score(
            "lesion_hd95_mm",
            "lesion-wise HD95",
            "HD95 in mm: (sum over the lesions that count + penalty x false positives) / (their "
            "number + false positives), 0 if both are 0; a missed lesion has the penalty",
            unit="mm",
            digits=2,
            best=0,
            worst=penalty_mm,
        ),
    )


def _legacy(penalty_mm: float | None) -> tuple[Score, ...]:
    return (
        _ratio("legacy_dice", "legacy Dice", "Dice of the whole region"),
        Score(
            "legacy_hd95_mm",
            "legacy HD95",
            "HD95 of the whole region in mm",
            unit="mm",
            digits=2,
            best=0,
            worst=penalty_mm,
        ),
    )


_NSD = tuple(
    _ratio(
        f"lesion_nsd_{tolerance}mm",
        f"lesion-wise NSD {tolerance} mm",
        f"surface Dice at {tolerance} mm: {_MEAN}; a missed lesion has 0",
    )
    for tolerance in TOLERANCES_MM
)
_COUNTS = (
    _ratio(
        "lesion_f1",
        "lesion F1",
        "2 TP / (2 TP + FP + FN) of the counts of lesions; 1 if all are 0",
    ),
    Score("true_positives", "true positives", "lesions that count and were found", digits=0),
    Score(
        "false_positives",
        "false positives",
        "predicted components that belong to no lesion",
        digits=0,
        best=0,
    ),
    Score(
        "missed_lesions",
        "missed lesions",
        "lesions that count and were not found",
        digits=0,
        best=0,
    ),
)
_VOLUMES = (
    Score("volume_ml", "volume", "volume of the prediction in ml", unit="ml"),
    Score(
        "reference_volume_ml", "volume of the reference", "volume of the reference in ml", unit="ml"
    ),
)
_LEGACY_NSD = tuple(
    _ratio(
        f"legacy_nsd_{tolerance}mm",
        f"legacy NSD {tolerance} mm",
        f"surface Dice of the whole region at {tolerance} mm",
    )
    for tolerance in TOLERANCES_MM
)
_RATES = (
    _ratio("sensitivity", "sensitivity", "share of the reference's voxels that is predicted"),
    _ratio(
        "specificity",
        "specificity",
        "share of the voxels outside the reference that is not predicted",
    ),
)


def _plain(penalty_mm: float | None) -> tuple[Score, ...]:
    return (
        _ratio("plain_dice", "plain Dice", "Dice of the whole region, not filtered"),
        Score(
            "plain_hd95_mm",
            "plain HD95",
            "HD95 of the whole region in mm, not filtered and without the quirk of the program",
            unit="mm",
            digits=2,
            best=0,
            worst=penalty_mm,
        ),
    )


def legacy_scores(penalty_mm: float) -> tuple[Score, ...]:
    """Scores of whole regions, as until 2022."""
    return (*_legacy(penalty_mm), *_RATES, *_VOLUMES)


def lesion_scores(penalty_mm: float | None, *, nsd: bool, filters: bool) -> tuple[Score, ...]:
    """Scores of lesions, then of whole regions.

    Args:
        penalty_mm: HD95 of a missed lesion in mm; None if it differs by image.
        nsd: Whether the surface Dice is among them.
        filters: Whether the program filters the prediction.
    """
    return (
        *_lesions(penalty_mm),
        *(_NSD if nsd else ()),
        *_COUNTS,
        *_VOLUMES,
        *_legacy(penalty_mm),
        *(_LEGACY_NSD if nsd else ()),
        *_RATES,
        *(_plain(penalty_mm) if filters else ()),
    )
