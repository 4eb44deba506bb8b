"""Sentences on how a case differs from the training cases of a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from volseg.confidence.case_profile import CaseProfile
from volseg.confidence.mix_ups import mix_up
from volseg.confidence.training_profile import (
    FAR,
    Range,
    TrainingProfile,
    shown_number,
    trait_of,
    words_for,
)
from volseg.confidence.traits import SLICES
from volseg.images.source_values import BackgroundKind

# Root mean square of the deviations of all percentiles and correlations of a channel, beyond which
# its grey values differ; at most 1.9 in the cases of `FAR`.
_FAR_TOGETHER = 2.2

# Groups of traits that a single slice shows like a whole stack.
_OF_ANY_SLICE = {"spacing", "source"}

_BACKGROUNDS: Mapping[BackgroundKind, str] = {
    "zero": "0",
    "value": "another value than 0",
    "range": "a range of values",
    "none": "no value that fills its border",
}


def unlike(profile: TrainingProfile, case: CaseProfile) -> list[str]:
    """Sentences on the traits of a case that lie far outside those of the training cases.

    Args:
        profile: Profile of the training cases.
        case: Profile of the case.

    Returns:
        A sentence for each group of traits, with the value found, the range of training and a
        remedy; empty if the case is like the training cases.
    """
    case = _comparable(profile, case)
    distances = profile.distances(case)
    far = {name for name, distance in distances.items() if abs(distance) > FAR}
    far |= _far_together(distances)
    worst: dict[str, str] = {}
    for name in sorted(far, key=lambda name: -abs(distances[name])):
        worst.setdefault(trait_of(name).group, name)
    mixed_up = mix_up(profile, case.values)
    if mixed_up:
        worst.pop("greys", None)
    return [
        *_on_background(profile, case),
        *([mixed_up] if mixed_up else []),
        *(_sentence(name, case.values[name], profile.ranges[name]) for name in worst.values()),
    ]


def _comparable(profile: TrainingProfile, case: CaseProfile) -> CaseProfile:
    """The part of a profile that a case of a few slices can share with whole stacks."""
    in_training, found = profile.ranges.get(SLICES), case.values.get(SLICES)
    if in_training is None or found is None or found >= in_training.low / 2:
        return case
    kept = {n: value for n, value in case.values.items() if trait_of(n).group in _OF_ANY_SLICE}
    return replace(case, values=kept)


def _far_together(distances: Mapping[str, float]) -> set[str]:
    """The furthest trait of each channel whose grey values differ as a whole."""
    greys = [name for name in distances if trait_of(name).group == "greys"]
    channels = {name.partition("/")[2] for name in greys if name.startswith("p")}
    found = set()
    for channel in channels:
        mine = [name for name in greys if channel in name.partition("/")[2].split(" ")]
        if _root_mean_square(distances[name] for name in mine) > _FAR_TOGETHER:
            found.add(max(mine, key=lambda name: abs(distances[name])))
    return found


def _root_mean_square(numbers: Iterable[float]) -> float:
    squares = [number * number for number in numbers]
    return math.sqrt(sum(squares) / len(squares))


def _on_background(profile: TrainingProfile, case: CaseProfile) -> list[str]:
    """A sentence on the first channel with a kind of background that training did not have."""
    for channel, kind in case.backgrounds.items():
        known = profile.backgrounds.get(channel)
        if known and kind not in known:
            value = case.background_values.get(channel, 0)
            found = shown_number(value) if kind == "value" else _BACKGROUNDS[kind]
            usual = " or ".join(_BACKGROUNDS[one] for one in known)
            return [f"the background of {channel} is {found}, but {usual} in the training cases"]
    return []


def _sentence(name: str, value: float, found: Range) -> str:
    trait = trait_of(name)
    remedy = trait.above if value > found.high else trait.below
    usual = f"{found.span}{trait.unit} in the training cases{f'; {remedy}' if remedy else ''}"
    return f"{words_for(name)} is {shown_number(value)}{trait.unit}, but {usual}"
