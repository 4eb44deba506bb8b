"""Agreement of predicted and true Dice in held-out cases, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from scipy.stats import rankdata, spearmanr

from volseg.files.documents import validated

#: A case with a lower Dice counts as bad for `auc`.
BAD_DICE = 0.7

_RESAMPLES = 1000
_FEWEST_FOR_INTERVAL = 8

Values = npt.NDArray[np.float64]
_Pair = tuple[float, float]


class _Schema(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    cases: int = Field(ge=0)
    bad: int = Field(ge=0)
    mae: float
    spearman: float | None
    spearman_interval: list[float] | None = Field(min_length=2, max_length=2)
    auc: float | None
    auc_interval: list[float] | None = Field(min_length=2, max_length=2)


@dataclass(frozen=True)
class HeldOut:
    """Predicted against true Dice of held-out cases of one region.

    Attributes:
        cases: Number of cases.
        bad: Number of cases with a true Dice below `BAD_DICE`.
        mae: Mean absolute error.
        spearman: Rank correlation; None if all values are equal, or with fewer than 3 cases.
        spearman_interval: 95 % interval by bootstrap over patients; None with fewer than 8, or if
            all resamples give the same value.
        auc: Probability that a bad case has a lower predicted Dice than another; None without both.
        auc_interval: 95 % interval of `auc`, with the same limits.
    """

    cases: int
    bad: int
    mae: float
    spearman: float | None
    spearman_interval: _Pair | None
    auc: float | None
    auc_interval: _Pair | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The figures that `to_dict` gave; ValueError if the content is another."""
        found: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in dict(validated(_Schema, content)).items()
        }
        return cls(**found)


def measure_held_out(
    predicted: Sequence[float], true: Sequence[float], patients: Sequence[str]
) -> HeldOut:
    """Figures of held-out cases.

    Args:
        predicted: Predicted Dice of each case, fitted without its patient.
        true: True Dice of each case.
        patients: Patient of each case; resampled with all cases.
    """
    one, other = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    return HeldOut(
        len(one),
        int((other < BAD_DICE).sum()),
        float(abs(one - other).mean()),
        spearman(one, other),
        _interval(spearman, one, other, patients),
        auc(one, other),
        _interval(auc, one, other, patients),
    )


def spearman(predicted: Values, true: Values) -> float | None:
    """Rank correlation; None with fewer than 3 cases or if all values on a side are equal."""
    if len(true) < 3 or not np.ptp(predicted) or not np.ptp(true):
        return None
    return float(spearmanr(predicted, true).statistic)


def auc(predicted: Values, true: Values) -> float | None:
    """Probability that a bad case has a lower predicted Dice than another; ties count half."""
    bad = true < BAD_DICE
    if bad.all() or not bad.any():
        return None
    ranks = rankdata(-predicted)[bad]
    n = int(bad.sum())
    return float((ranks.sum() - n * (n + 1) / 2) / (n * (len(bad) - n)))


def _interval(
    of: Callable[[Values, Values], float | None],
    predicted: Values,
    true: Values,
    patients: Sequence[str],
) -> _Pair | None:
    """Percentile bootstrap interval at 95 %, from the resamples that have a value."""
    names = list(dict.fromkeys(patients))
    if len(names) < _FEWEST_FOR_INTERVAL:
        return None
    cases = [np.flatnonzero([one == name for one in patients]) for name in names]
    generator = np.random.RandomState(0)
    found = []
    for _ in range(_RESAMPLES):
        drawn = np.concatenate([cases[n] for n in generator.randint(0, len(names), len(names))])
        value = of(predicted[drawn], true[drawn])
        found += [] if value is None else [value]
    if not found:
        return None
    low, high = np.quantile(found, [0.025, 0.975]).tolist()
    # Equal resamples say nothing about other patients.
    return None if np.isclose(low, high, rtol=0, atol=1e-9) else (low, high)
