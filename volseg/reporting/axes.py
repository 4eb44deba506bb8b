"""Axes of charts: where values lie, and the numbers at round values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

#: Width of a chart, and its edges and the height of its plot, in units of its box.
WIDTH, LEFT, RIGHT, TOP, PLOT_HEIGHT = 420, 60, 396, 10, 230
# Share of a logarithmic axis below the break, where 0 lies; width of a letter.
_ZERO_SHARE, _LETTER = 0.1, 7

# Round values are these times a power of 10; up to this ratio a logarithmic axis has ticks at all.
_FACTORS, _MOST_FINE = (1, 2, 5), 100.1


@dataclass(frozen=True)
class Tick:
    """A number or a name at an axis."""

    place: float
    text: str


@dataclass(frozen=True)
class Axis:
    """Maps values to places.

    Attributes:
        low: Value at `start`, or above the break.
        high: Value at `end`.
        start: Place of the lowest value.
        end: Place of the highest value.
        is_log: Whether equal distances are equal factors.
        has_zero: Whether 0 lies at `start` of a logarithmic axis, below a break.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False
    has_zero: bool = False

    def place(self, value: float) -> float:
        """Place of a value.

        >>> Axis(0.1, 1000, 0, 400, is_log=True).place(10)
        200.0
        """
        if self.is_log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
            if self.has_zero:
                share = _ZERO_SHARE + (1 - _ZERO_SHARE) * share if value > 0 else 0.0
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def break_place(self) -> float | None:
        """Place of the break above 0; None without a break."""
        if not self.has_zero:
            return None
        return round(self.start + _ZERO_SHARE / 2 * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[Tick]:
        """Ticks at round values: on a logarithmic axis 1, 2, 5, 10, ..., or powers of 10.

        >>> [tick.text for tick in Axis(2, 50, 0, 1, is_log=True, has_zero=True).ticks]
        ['0', '2', '5', '10', '20', '50']
        """
        if self.is_log:
            factors = _FACTORS if self.high / self.low <= _MOST_FINE else (1,)
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            values = [factor * 10.0**power for power in powers for factor in factors]
            values = [v for v in values if v / self.low > 0.999 and v / self.high < 1.001]
            values = [0.0] * self.has_zero + values
        else:
            step = _round_step((self.high - self.low) / 5)
            values = [float(v) for v in np.arange(self.low, self.high + step / 2, step)]
        return [Tick(self.place(value), f"{value:g}") for value in np.round(values, 9)]


def apart(ticks: Iterable[Tick]) -> list[Tick]:
    """Ticks of a horizontal axis without those whose text would touch that of the tick before.

    >>> [tick.text for tick in apart([Tick(0, "week-1"), Tick(20, "week-2"), Tick(90, "week-9")])]
    ['week-1', 'week-9']
    """
    kept: list[Tick] = []
    for tick in ticks:
        width = _LETTER * (len(kept[-1].text) + len(tick.text)) / 2 + _LETTER if kept else 0
        if not kept or tick.place - kept[-1].place >= width:
            kept.append(tick)
    return kept


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (*_FACTORS, 10) if factor * power >= step * 0.999)


def x_axis(values: Iterable[float], *, is_share: bool = False, is_log: bool = False) -> Axis:
    """Horizontal axis for these values: 0 to 1 for shares, else from 0, or logarithmic."""
    if is_share:
        return Axis(0, 1, LEFT, RIGHT)
    if is_log:
        return _log_axis([*values], LEFT, RIGHT)
    most = max((value for value in values if value > 0), default=1.0)
    step = _round_step(most / 5)
    return Axis(0, step * math.ceil(most / step - 1e-9), LEFT, RIGHT)


def _log_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """Logarithmic axis around sizes, at round values; with 0 below a break if a size is 0."""
    known = [value for value in values if value > 0] or [1.0]
    low, high = _round_below(min(known)), _round_step(max(known))
    if high / low > _MOST_FINE:
        low, high = (
            10.0 ** math.floor(math.log10(low) + 1e-9),
            10.0 ** math.ceil(math.log10(high) - 1e-9),
        )
    return Axis(low, max(high, 10 * low), start, end, is_log=True, has_zero=0 in values)


def _round_below(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return max(factor * power for factor in _FACTORS if factor * power <= value * 1.001)


def span_axis(values: Sequence[float]) -> Axis:
    """Horizontal axis from the lowest to the highest of these values, at round numbers."""
    low, high = min(values), max(values)
    step = _round_step((high - low or 1) / 5)
    return Axis(math.floor(low / step) * step, math.ceil(high / step) * step, LEFT, RIGHT)


def size_axis(values: Iterable[float]) -> Axis:
    """Vertical axis for sizes, on which equal factors have equal distances; 0 is at the bottom."""
    return _log_axis([*values], TOP + PLOT_HEIGHT, TOP)


def y_axis(low: float = 0, high: float = 1) -> Axis:
    """Vertical axis, with low values at the bottom."""
    return Axis(low, high, TOP + PLOT_HEIGHT, TOP)
