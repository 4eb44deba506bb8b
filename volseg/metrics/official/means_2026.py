"""Means over the lesions of a region, as the BraTS program of 2026 takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from volseg.metrics.official.region_scores import Lesion

Values = Mapping[str, float | None]

#: Distance in place of an infinite one: in mm for lesions, in voxels for whole regions.
PENALTY = 373.0
#: Volume from which a metastasis is large, and Dice of the match from which it counts as found.
LARGE_MM3, FOUND_DICE = 20.0, 0.1

#: Name of a score, unit at the end of its name, value of a lesion, value of a false positive.
_MEASURES: tuple[tuple[str, str, Callable[[Lesion], float], float], ...] = (
    ("dice", "", lambda lesion: lesion.dice, 0.0),
    ("hd95", "_mm", lambda lesion: PENALTY if lesion.hd95_mm is None else lesion.hd95_mm, PENALTY),
    ("nsd", "", lambda lesion: next(iter(lesion.nsd.values()), 0.0), 0.0),
)


def of_matches(lesions: Sequence[Lesion], n_false: int) -> Values:
    """Means over the matched lesions, and counts of all."""
    hits = sum(lesion.n_predicted > 0 for lesion in lesions)
    means = _matched_means("lesion", lesions, n_false)
    counts = _counts(hits, n_false, len(lesions) - hits)
    dice, f1 = means["lesion_dice"], counts["f1"]
    return {
        **means,
        "true_positives": counts["true_positives"],
        "false_positives": counts["false_positives"],
        "missed_lesions": counts["missed_lesions"],
        **{f"lesion_{name}": counts[name] for name in ("f1", "precision", "recall")},
        "panoptic_quality": None if dice is None or f1 is None else dice * f1,
    }


def of_sizes(lesions: Sequence[Lesion], n_false: int) -> Values:
    """Means over the large lesions and the false positives; counts of all, large and small.

    Each false positive counts for both sizes; of a size without lesions there are no values.
    """
    large = [lesion for lesion in lesions if lesion.volume_mm3 >= LARGE_MM3]
    small = [lesion for lesion in lesions if lesion.volume_mm3 < LARGE_MM3]
    values = dict(of_matches(lesions, n_false))
    values |= _matched_means("matched", lesions, n_false)
    values |= _means("lesion", large, n_false if large else 0)
    for size, members in (("large", large), ("small", small)):
        hits = sum(lesion.dice >= FOUND_DICE for lesion in members)
        counts = _counts(hits, n_false, len(members) - hits)
        # The program divides 0 by 0 to 0 here.
        counts = {name: 0 if value is None else value for name, value in counts.items()}
        values |= {f"{size}_{name}": counts[name] if members else None for name in counts}
    return values


def _matched_means(prefix: str, lesions: Sequence[Lesion], n_false: int) -> dict[str, float | None]:
    """Means over the matched lesions."""
    matched = [lesion for lesion in lesions if lesion.n_predicted]
    means = _means(prefix, matched, 0)
    if not matched and (lesions or n_false):
        # The program has an infinite HD95 here.
        means |= {f"{prefix}_dice": 0.0, f"{prefix}_nsd": 0.0}
    return means


def _means(prefix: str, lesions: Sequence[Lesion], n_false: int) -> dict[str, float | None]:
    """Mean and population standard deviation of each measure; None without values."""
    means: dict[str, float | None] = {}
    for name, unit, measure, worst in _MEASURES:
        values = [measure(lesion) for lesion in lesions] + [worst] * n_false
        means[f"{prefix}_{name}{unit}"] = float(np.mean(values)) if values else None
        means[f"{prefix}_{name}_std{unit}"] = float(np.std(values)) if values else None
    return means


def _counts(hits: int, false: int, missed: int) -> dict[str, float | None]:
    """Counts, and rates from them; None for 0 / 0."""
    found, expected = hits + false, hits + missed
    return {
        "true_positives": hits,
        "false_positives": false,
        "missed_lesions": missed,
        "precision": hits / found if found else None,
        "recall": hits / expected if expected else None,
        "f1": 2 * hits / (found + expected) if found + expected else None,
    }
