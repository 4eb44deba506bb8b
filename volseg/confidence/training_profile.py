"""Ranges of the training cases of a model, and the sentences on a case that lies outside them.

A range is that of the values found in training, and at least the robust interval in which further
cases are expected: the median and some standard deviations, widened for few training cases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from volseg.confidence.case_profile import CaseProfile
from volseg.confidence.traits import TRAITS, Trait
from volseg.files.documents import validated

# Standard deviations beyond which a case is unlike the training cases.
_FAR = 5.0
# Number of cases that the expected spread of a trait counts as.
_EXPECTED_CASES = 4
# Ratio of the standard deviation to the median distance from the median, of a normal distribution.
_NORMAL = 1.4826


class _Schema(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    cases: Annotated[int, Field(ge=1)]
    ranges: dict[str, Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)]]


@dataclass(frozen=True)
class Range:
    """Values of a trait in training.

    Attributes:
        low: Lowest value.
        high: Highest value.
        middle: Median.
        spread: Robust standard deviation on the scale of the trait.
    """

    low: float
    high: float
    middle: float
    spread: float

    @classmethod
    def of(cls, values: Sequence[float], trait: Trait) -> Self:
        """The range of some values, at least one."""
        scaled = np.array([trait.scaled(value) for value in values])
        distances = abs(scaled - np.median(scaled))
        spread = _NORMAL * float(np.median(distances))
        middle = float(np.median(values))
        return cls(min(values), max(values), middle, float(f"{spread:.3g}"))

    def holds(self, value: float, trait: Trait, cases: int) -> bool:
        """Whether a value lies in the range, or where further cases are expected."""
        if self.low <= value <= self.high:
            return True
        own = cases - 1
        variance = (_EXPECTED_CASES * trait.spread**2 + own * self.spread**2) / (
            _EXPECTED_CASES + own
        )
        reach = _FAR * math.sqrt(variance * (1 + 1 / cases))
        low, high = (trait.scaled(end) for end in (self.low, self.high))
        middle, found = trait.scaled(self.middle), trait.scaled(value)
        return min(low, middle - reach) <= found <= max(high, middle + reach)


@dataclass(frozen=True)
class TrainingProfile:
    """Profile of all training cases of a model.

    Attributes:
        cases: Number of cases.
        ranges: Range of each trait and part that all or some cases have, such as `spacing_mm/S`.
    """

    cases: int
    ranges: Mapping[str, Range]

    @classmethod
    def of(cls, profiles: Sequence[CaseProfile]) -> Self:
        """The profile of some cases, at least one."""
        found: dict[str, list[float]] = {}
        for profile in profiles:
            for name, value in profile.values.items():
                found.setdefault(name, []).append(value)
        return cls(
            len(profiles),
            {name: Range.of(values, _trait(name)) for name, values in sorted(found.items())},
        )

    def to_dict(self) -> dict[str, Any]:
        """The profile as plain data for JSON, for the header of a model."""
        ranges = {
            name: [one.low, one.high, one.middle, one.spread] for name, one in self.ranges.items()
        }
        return {"cases": self.cases, "ranges": ranges}

    @classmethod
    def from_dict(cls, content: Any) -> Self:
        """The profile of `to_dict`; ValueError, in one line, if it is another document.

        Traits of other versions of volseg are left out.
        """
        known = validated(_Schema, content)
        return cls(
            known["cases"],
            {
                name: Range(*numbers)
                for name, numbers in known["ranges"].items()
                if name.partition("/")[0] in TRAITS
            },
        )


def unlike(profile: TrainingProfile, case: CaseProfile) -> list[str]:
    """Sentences on the traits of a case that lie outside the range of the training cases."""
    return [
        _sentence(name, value, profile.ranges[name])
        for name, value in case.values.items()
        if name in profile.ranges
        and not profile.ranges[name].holds(value, _trait(name), profile.cases)
    ]


def _trait(name: str) -> Trait:
    return TRAITS[name.partition("/")[0]]


def _sentence(name: str, value: float, found: Range) -> str:
    trait, part = _trait(name), name.partition("/")[2]
    words = trait.words.format(part)
    low, high = _shown(found.low), _shown(found.high)
    span = low if low == high else f"{low} to {high}"
    end = f"; {trait.remedy}" if trait.remedy else ""
    unit = trait.unit
    return f"{words} is {_shown(value)}{unit}, but {span}{unit} in the training cases{end}"


def _shown(value: float) -> str:
    """A value to three digits, without an exponent below a million."""
    return f"{float(f'{value:.3g}'):g}"
