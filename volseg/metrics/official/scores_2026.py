"""Scores of the BraTS program of 2026: names, titles and definitions."""

from __future__ import annotations

from volseg.metrics.official.means_2026 import FOUND_DICE, LARGE_MM3, PENALTY
from volseg.metrics.scores import Score

_MATCHED = "mean over the matched lesions; 0 without a match, none if both sides are empty"
_MATCHED_HD95 = (
    "mean over the matched lesions, none without a match (the program has inf there); voxel sizes "
    "along the first and last axis are exchanged"
)
_LARGE = (
    f"mean over the lesions of at least {LARGE_MM3:g} mm3 and all false positives, none without "
    "such a lesion; a missed lesion and a false positive have"
)
_HD95 = "95th percentile of the distances between border voxels, both directions together"
_NSD = "share of the border voxels near the other border"


def match_scores() -> tuple[Score, ...]:
    """Scores of matched lesions, counts, scores of whole regions."""
    means = _means("lesion", "lesion-wise", (_MATCHED, _MATCHED_HD95, _MATCHED))
    return (*means, *_COUNTS, _QUALITY, *_WHOLE)


def size_scores() -> tuple[Score, ...]:
    """Scores of large lesions and errors, counts by size, scores of whole regions."""
    large = (f"{_LARGE} 0", f"{_LARGE} {PENALTY:g} mm", f"{_LARGE} 0")
    return (
        *_means("lesion", "lesion-wise", large),
        *_COUNTS,
        *_of_size("large", f"lesions of at least {LARGE_MM3:g} mm3"),
        *_of_size("small", f"lesions below {LARGE_MM3:g} mm3"),
        *_means("matched", "matched", (_MATCHED, _MATCHED_HD95, _MATCHED)),
        _QUALITY,
        *_WHOLE,
    )


def _ratio(name: str, title: str, definition: str) -> Score:
    return Score(name, title, definition, best=1, worst=0)


def _hd95(name: str, title: str, definition: str, unit: str) -> Score:
    return Score(name, title, definition, unit=unit, digits=2, best=0, worst=PENALTY)


def _means(prefix: str, title: str, rules: tuple[str, str, str]) -> tuple[Score, ...]:
    """Means and standard deviations of Dice, HD95 and NSD by their rules."""
    dice, hd95, nsd = rules
    means = (
        _ratio(f"{prefix}_dice", f"{title} Dice", f"Dice: {dice}"),
        _hd95(f"{prefix}_hd95_mm", f"{title} HD95", f"{_HD95}, in mm: {hd95}", "mm"),
        _ratio(f"{prefix}_nsd", f"{title} NSD", f"{_NSD}, up to the smallest voxel size: {nsd}"),
    )
    spreads = (
        Score(
            mean.name.replace("_mm", "") + "_std" + ("_mm" if mean.unit else ""),
            f"deviation of {mean.title}",
            f"population standard deviation over the same lesions as {mean.name}",
            unit=mean.unit,
            digits=mean.digits,
        )
        for mean in means
    )
    return tuple(each for pair in zip(means, spreads, strict=True) for each in pair)


def _count(name: str, title: str, definition: str, best: float | None = None) -> Score:
    return Score(name, title, definition, digits=0, best=best)


_COUNTS = (
    _ratio("lesion_f1", "lesion F1", "2 TP / (2 TP + FP + FN); none if both sides are empty"),
    _ratio("lesion_precision", "lesion precision", "TP / (TP + FP); none without a component"),
    _ratio("lesion_recall", "lesion recall", "TP / (TP + FN); none without a lesion"),
    _count("true_positives", "true positives", "TP: lesions matched to a predicted component"),
    _count("false_positives", "false positives", "FP: predicted components without a match", 0),
    _count("missed_lesions", "missed lesions", "FN: lesions without a match", 0),
)
_QUALITY = _ratio(
    "panoptic_quality", "panoptic quality", "mean Dice of the matched lesions x lesion_f1"
)
_WHOLE = (
    _ratio("global_dice", "global Dice", "Dice of the whole region; 0 without a matched lesion"),
    _ratio("global_nsd", "global NSD", f"{_NSD}, up to half a voxel: of the whole region"),
    _hd95(
        "global_hd95_voxels",
        "global HD95",
        f"{_HD95}, in voxels: of the whole region; {PENALTY:g} without a matched lesion",
        "voxels",
    ),
    Score("volume_ml", "volume", "volume of the prediction in ml", unit="ml"),
    Score(
        "reference_volume_ml", "volume of the reference", "volume of the reference in ml", unit="ml"
    ),
)


def _of_size(size: str, lesions: str) -> tuple[Score, ...]:
    """Counts of the lesions of one size."""
    found = f"matched with a Dice of at least {FOUND_DICE:g}"
    return (
        _count(f"{size}_true_positives", f"{size} true positives", f"{lesions}, {found}"),
        _count(f"{size}_false_positives", f"{size} false positives", "those of all sizes", 0),
        _count(f"{size}_missed_lesions", f"{size} missed lesions", f"other {lesions}", 0),
        *(
            _ratio(f"{size}_{name}", f"{size} {name}", f"of the counts of {lesions}; 0 for 0 / 0")
            for name in ("precision", "recall", "f1")
        ),
    )
