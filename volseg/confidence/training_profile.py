"""Ranges of the training cases of a model, and how far a case lies outside them.

A range is that of the values found in training and, around their median, the interval in which
further cases are expected. That interval is a number of robust standard deviations, at least those
that cases of one source are known to have, and is wider after few training cases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from volseg.confidence.case_profile import CaseProfile
from volseg.confidence.traits import TRAITS, Trait
from volseg.errors import ModelError
from volseg.files.documents import validated
from volseg.images.source_values import BackgroundKind
from volseg.words import cases_in_words

#: Standard deviations beyond which a number is unlike those of the training cases; at most 3.9 in 8
#: BraTS cases and 51 LGG patients, each compared with 3 to 50 others: see docs/studies/unlike.md.
FAR = 4.5
# Number of cases that the known spread of a trait counts as, beside that of the training cases.
_KNOWN_CASES = 4
# Additional share of the spread, divided by the number of training cases.
_FEW_CASES = 1.5
# Ratio of the standard deviation to the median distance from the median, of a normal distribution.
_NORMAL = 1.4826


# Groups of traits that describe the training cases in a line.
_MAIN = ("spacing", "size")


def _ordered(numbers: list[float]) -> list[float]:
    low, high, middle, spread = numbers
    if not low <= middle <= high or spread < 0:
        raise ValueError("it is not the lowest, highest and median value and a spread")
    return numbers


# The square of a number is finite, and grey values in float32 are smaller.
_Number = Annotated[float, Field(ge=-1e100, le=1e100, allow_inf_nan=False)]
_Range = Annotated[list[_Number], Field(min_length=4, max_length=4), AfterValidator(_ordered)]


class _Schema(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    cases: Annotated[int, Field(ge=1)]
    ranges: dict[str, _Range]
    backgrounds: dict[str, list[BackgroundKind]]


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

    @property
    def span(self) -> str:
        """Lowest and highest value, such as `1 to 1.5`."""
        low, high = shown_number(self.low), shown_number(self.high)
        return low if low == high else f"{low} to {high}"

    @classmethod
    def of(cls, values: Sequence[float], trait: Trait) -> Self:
        """The range of some values, at least one."""
        scaled = np.array([trait.scaled(value) for value in values])
        spread = _NORMAL * float(np.median(abs(scaled - np.median(scaled))))
        return cls(min(values), max(values), float(np.median(values)), float(f"{spread:.3g}"))

    def deviation(self, value: float, trait: Trait, cases: int) -> float:
        """How many standard deviations a value lies above the median of `cases` cases."""
        known, own = _KNOWN_CASES * trait.spread**2, (cases - 1) * self.spread**2
        pooled = math.sqrt((known + own) / (_KNOWN_CASES + cases - 1))
        spread = max(trait.spread, pooled) * (1 + _FEW_CASES / cases)
        return (trait.scaled(value) - trait.scaled(self.middle)) / spread


@dataclass(frozen=True)
class TrainingProfile:
    """Profile of all training cases of a model.

    Attributes:
        cases: Number of cases.
        ranges: Range of each trait and part that a case has, such as `spacing_mm/S`.
        backgrounds: Kinds of background of each channel.
    """

    cases: int
    ranges: Mapping[str, Range]
    backgrounds: Mapping[str, tuple[BackgroundKind, ...]]

    @classmethod
    def of(cls, profiles: Sequence[CaseProfile]) -> Self:
        """The profile of some cases, at least one."""
        found: dict[str, list[float]] = {}
        kinds: dict[str, set[BackgroundKind]] = {}
        for profile in profiles:
            for name, value in profile.values.items():
                found.setdefault(name, []).append(value)
            for channel, kind in profile.backgrounds.items():
                kinds.setdefault(channel, set()).add(kind)
        return cls(
            len(profiles),
            {name: Range.of(values, trait_of(name)) for name, values in found.items()},
            {channel: tuple(sorted(of)) for channel, of in sorted(kinds.items())},
        )

    def to_dict(self) -> dict[str, Any]:
        """The profile as plain data for JSON, for the header of a model."""
        ranges = {
            name: [one.low, one.high, one.middle, one.spread] for name, one in self.ranges.items()
        }
        backgrounds = {channel: list(kinds) for channel, kinds in self.backgrounds.items()}
        return {"cases": self.cases, "ranges": ranges, "backgrounds": backgrounds}

    @classmethod
    def from_dict(cls, content: Any, where: str) -> Self:
        """The profile of `to_dict`; traits of other versions of volseg are left out.

        Args:
            content: Plain data.
            where: The model file, for errors.

        Raises:
            ModelError: If it is another document.
        """
        try:
            known = validated(_Schema, content)
        except ValueError as error:
            raise ModelError(
                f"the profile of the training cases in {where} is damaged ({error})",
                remedy="copy the file again, or train again",
            ) from None
        ranges = {
            name: Range(*numbers)
            for name, numbers in known["ranges"].items()
            if name.partition("/")[0] in TRAITS
        }
        backgrounds = {channel: tuple(kinds) for channel, kinds in known["backgrounds"].items()}
        return cls(known["cases"], ranges, backgrounds)

    @property
    def in_words(self) -> str:
        """The main facts, for people."""
        sizes = [
            f"{words_for(name).removeprefix('the ')} {one.span}{trait_of(name).unit}"
            for name, one in self.ranges.items()
            if trait_of(name).group in _MAIN and not name.startswith("extent")
        ]
        return ", ".join([cases_in_words(self.cases), *sizes])

    def deviation(self, name: str, value: float) -> float:
        """Deviation of a number such as `spacing_mm/S`; see `Range.deviation`."""
        return self.ranges[name].deviation(value, trait_of(name), self.cases)

    def distances(self, case: CaseProfile) -> dict[str, float]:
        """Deviation of each number that case and training cases have; 0 within their range."""
        return {
            name: 0.0
            if self.ranges[name].low <= value <= self.ranges[name].high
            else self.deviation(name, value)
            for name, value in case.values.items()
            if name in self.ranges
        }


def words_for(name: str) -> str:
    """Words for a name such as `spacing_mm/S`."""
    return trait_of(name).words.format(name.partition("/")[2].replace(" ", " and "))


def shown_number(value: float) -> str:
    """A number to three digits, without an exponent.

    >>> shown_number(1418.2), shown_number(0.0000123456), shown_number(-3.456e6)
    ('1420', '0.0000123', '-3460000')
    """
    return np.format_float_positional(float(f"{value:.3g}"), trim="-")


def trait_of(name: str) -> Trait:
    """Trait of a name such as `spacing_mm/S`."""
    return TRAITS[name.partition("/")[0]]
