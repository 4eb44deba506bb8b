"""Axes of charts: where values lie, and the numbers at round values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

#: Width of a chart, and its edges and the height of its plot, in units of its box.
WIDTH, LEFT, RIGHT, TOP, PLOT_HEIGHT = 420, 52, 408, 10, 230


@dataclass(frozen=True)
class Tick:
    """A number or a name at an axis."""

    place: float
    text: str


@dataclass(frozen=True)
class Axis:
    """Maps values to places.

    Attributes:
        low: Value at `start`.
        high: Value at `end`.
        start: Place of the lowest value.
        end: Place of the highest value.
        is_log: Whether equal distances are equal factors; values below `low` lie at `start`.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """Place of a value.

        >>> Axis(0.1, 1000, 0, 400, is_log=True).place(10)
        200.0
        """
        if self.is_log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[Tick]:
        """Ticks at round values."""
        if self.is_log:
            powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            values = [10.0**power for power in powers]
        else:
            step = _round_step((self.high - self.low) / 5)
            values = [float(v) for v in np.arange(self.low, self.high + step / 2, step)]
        return [Tick(self.place(value), f"{value:g}") for value in np.round(values, 9)]


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.999)


def x_axis(values: Iterable[float], *, is_share: bool = False, is_log: bool = False) -> Axis:
    """Horizontal axis for these values: 0 to 1 for shares, else from 0 or from a power of 10."""
    known = [value for value in values if value > 0]
    most = max(known, default=1.0)
    if is_share:
        return Axis(0, 1, LEFT, RIGHT)
    if not is_log:
        return Axis(0, _round_step(most), LEFT, RIGHT)
    return Axis(*_powers_around(known), LEFT, RIGHT, is_log=True)


def _powers_around(values: Sequence[float]) -> tuple[float, float]:
    """Powers of 10 below and above positive values, of which there may be none."""
    low = max(10.0 ** math.floor(math.log10(min(values, default=0.1))), 0.001)
    return low, max(10.0 ** math.ceil(math.log10(max(values, default=1.0))), 10 * low)


def span_axis(values: Sequence[float]) -> Axis:
    """Horizontal axis from the lowest to the highest of these values, at round numbers."""
    low, high = min(values), max(values)
    step = _round_step((high - low or 1) / 5)
    return Axis(math.floor(low / step) * step, math.ceil(high / step) * step, LEFT, RIGHT)


def size_axis(values: Iterable[float]) -> Axis:
    """Vertical axis for sizes, on which equal factors have equal distances; 0 is at the bottom."""
    low, high = _powers_around([value for value in values if value > 0])
    return Axis(low, high, TOP + PLOT_HEIGHT, TOP, is_log=True)


def y_axis(low: float = 0, high: float = 1) -> Axis:
    """Vertical axis, with low values at the bottom."""
    return Axis(low, high, TOP + PLOT_HEIGHT, TOP)
