"""Temperature of each region, and what it gains in patients that were held out from its fit."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from volseg.confidence.temperature import LogitCounts, fit_temperature

#: The mean negative log-likelihood must fall by as much, in nats, so that noise changes nothing.
LEAST_GAIN = 1e-4


@dataclass(frozen=True)
class TemperatureFit:
    """Temperature of a region.

    Attributes:
        initial: Temperature before.
        temperature: Temperature to use: fitted on all cases, or the initial temperature.
        nll: Negative log-likelihood of held-out patients, in nats a voxel, before and after: mean
            over cases.
        ece: Expected calibration error of held-out patients before and after, of all voxels.
        reason: Why the temperature stays as it was; empty if it is fitted.
    """

    initial: float
    temperature: float
    nll: tuple[float, float]
    ece: tuple[float, float]
    reason: str = ""

    @classmethod
    def of(
        cls, initial: float, cases: Sequence[LogitCounts], held_out: Sequence[Sequence[int]]
    ) -> Self:
        """Fit on all cases, and measure in each fold of patients a fit on the other patients.

        Args:
            initial: Temperature before.
            cases: Counts of the region in each case.
            held_out: Indices of the cases of each fold; together they are all cases.
        """
        before = np.full(len(cases), initial)
        try:
            fitted = fit_temperature(cases)
        except ValueError as refused:
            figures = _figures(before, cases)
            same = [(figure, figure) for figure in figures]
            return cls(initial, initial, same[0], same[1], str(refused))
        after = before.copy()
        for fold in held_out:
            rest = np.setdiff1d(np.arange(len(cases)), fold)
            after[fold] = _fitted([cases[n] for n in rest], initial)
        nll, ece = zip(_figures(before, cases), _figures(after, cases), strict=True)
        reason = _why_not(fitted, nll, ece)
        return cls(initial, initial if reason else fitted, nll, ece, reason)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "temperature": self.temperature,
            "nll": list(self.nll),
            "ece": list(self.ece),
            "reason": self.reason,
        }


def _why_not(fitted: float, nll: tuple[float, float], ece: tuple[float, float]) -> str:
    """Why a temperature is not used; empty if it makes held-out patients better calibrated."""
    if nll[0] - nll[1] < LEAST_GAIN:
        return f"the fit of {fitted:.2f} does not lower the NLL of held-out patients"
    if ece[1] > ece[0]:
        return f"the fit of {fitted:.2f} lowers the NLL of held-out patients, but raises their ECE"
    return ""


def _fitted(cases: Sequence[LogitCounts], initial: float) -> float:
    """Temperature of a fit, or the initial temperature where no fit is possible."""
    try:
        return fit_temperature(cases)
    except ValueError:
        return initial


def _figures(
    temperatures: npt.NDArray[np.float64], cases: Sequence[LogitCounts]
) -> tuple[float, float]:
    """Negative log-likelihood and expected calibration error, each case at its temperature."""
    each = [
        (case, float(at)) for case, at in zip(cases, temperatures, strict=True) if case.voxels.any()
    ]
    if not each:
        return 0.0, 0.0
    together = reduce(operator.add, (case.reliability(at) for case, at in each))
    return float(np.mean([case.nll(at) for case, at in each])), together.ece


def as_option(fits: Mapping[str, TemperatureFit]) -> float | dict[str, float]:
    """Option `inference.temperature`: 1, or a number for each region whose number is another."""
    return {name: of.temperature for name, of in fits.items() if of.temperature != 1} or 1.0
