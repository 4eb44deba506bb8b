"""Linear fit of the Dice on a few features, held near fixed weights where cases are few."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import lsq_linear
from scipy.stats import t as student

from volseg.confidence.features import OF_DISAGREEMENT
from volseg.files.documents import validated

# Centre and scale of each feature: rounded means and standard deviations in the study
# docs/studies/predicted-dice.md, where Dice is about 0.6.
_SCALES = {
    "expected_dice": (0.86, 0.055),
    "compactness": (0.70, 0.25),
    "single_peak": (0.95, 0.06),
    OF_DISAGREEMENT: (0.88, 0.07),
}
# A feature farther from its centre, in scales, does not count for more.
_FARTHEST = 3.0
# Before any case is seen: all features count the same, in Dice a scale together ...
_WEIGHTS, _WEIGHT_SD = 0.2, 0.02
# ... and mean Dice, its standard deviation over models, over regions and over cases.
_MEAN, _MEAN_SD, _REGION_SD, _CASE_SD = 0.65, 0.2, 0.1, 0.17
# Weight of these expectations in errors and in the share of empty references, in cases.
_PRIOR_CASES = 4.0
_PRIOR_EMPTY = 2.0
# Share of cases whose Dice is expected below each end of the interval.
_TAIL = 0.1

# A linear fit may leave 0 to 1, but not by far.
_Dice = Annotated[float, Field(ge=-10, le=10)]
_Error = Annotated[float, Field(gt=0, le=10)]
_Factor = Annotated[float, Field(ge=-1e6, le=1e6)]


class _Schema(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    patients: int = Field(ge=0)
    mean: _Dice
    regions: dict[str, _Dice]
    weights: dict[str, list[_Factor]]
    error: _Error
    errors: dict[str, _Error]
    empty: dict[str, list[float]]


@dataclass(frozen=True)
class DiceSample:
    """A region of a case with a reference.

    Attributes:
        case_id: The case.
        patient_id: Its patient; cases of a patient are held out together.
        region: Name of the region.
        features: Features of `confidence.features`.
        dice: True Dice, 0 to 1; 1 if both masks are empty.
    """

    case_id: str
    patient_id: str
    region: str
    features: Mapping[str, float]
    dice: float


@dataclass(frozen=True)
class DiceFit:
    """Fitted coefficients.

    Attributes:
        patients: Number of patients of the fit.
        mean: Dice of a case with all features at their centres.
        regions: Difference of each region from `mean`.
        weights: Centre, scale and weight of each feature.
        error: Standard deviation of the error, over all regions.
        errors: Standard deviation of the error of each region.
        empty: Cases of each region whose mask is empty: their number, and how many references are.
    """

    patients: int
    mean: float
    regions: Mapping[str, float]
    weights: Mapping[str, Sequence[float]]
    error: float
    errors: Mapping[str, float]
    empty: Mapping[str, Sequence[float]]

    @classmethod
    def of(
        cls, cases: Sequence[DiceSample], names: Sequence[str], errors: Sequence[tuple[str, float]]
    ) -> Self:
        """Fit by least squares with a prior (ridge); no weight becomes negative.

        Args:
            cases: Any number of cases, also none.
            names: Features to use.
            errors: Region and error of cases that were predicted without their patient.
        """
        full = [case for case in cases if case.features["voxels"]]
        regions = sorted({case.region for case in full})
        mean, *found = _coefficients(full, regions, names)
        pooled = _spread((error for _, error in errors), _CASE_SD)
        of_region = {
            region: _spread((error for name, error in errors if name == region), pooled)
            for region in regions
        }
        weights = {
            name: [*_SCALES[name], weight]
            for name, weight in zip(names, found[len(regions) :], strict=True)
        }
        return cls(
            len({case.patient_id for case in cases}),
            mean,
            dict(zip(regions, found[: len(regions)], strict=True)),
            weights,
            pooled,
            of_region,
            _empty(cases),
        )

    def predict(self, region: str, features: Mapping[str, float]) -> tuple[float, float, float]:
        """Predicted Dice with the ends of its interval, all from 0 to 1."""
        if not features["voxels"]:
            number, right = self.empty.get(region, (0.0, 0.0))
            # A voxel with probability p makes an empty reference at most 1 - p probable.
            expected = 1 - min(1.0, features["highest"])
            share = (_PRIOR_EMPTY * expected + right) / (_PRIOR_EMPTY + number)
            return share, 0.0, 1.0
        value = self.mean + self.regions.get(region, 0.0)
        for name, (centre, scale, weight) in self.weights.items():
            value += weight * _bounded((features[name] - centre) / scale)
        half = self.errors.get(region, self.error) * (1 + 1 / (1 + self.patients)) ** 0.5
        half *= float(student.ppf(1 - _TAIL, _PRIOR_CASES - 1 + self.patients))
        dice = _within_0_and_1(value)
        return dice, max(0.0, min(dice, value - half)), min(1.0, max(dice, value + half))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Any, names: Sequence[str]) -> Self:
        """The fit of features `names` that `to_dict` gave; ValueError if the content is another."""
        found = cls(**validated(_Schema, content))
        if set(found.weights) != set(names):
            raise ValueError(f"weights are of {' '.join(found.weights)}, not {' '.join(names)}")
        for name, numbers in found.weights.items():
            if len(numbers) != 3 or numbers[1] <= 0 or numbers[2] < 0:
                raise ValueError(f"weights.{name} is not centre, scale and weight of a feature")
        for region, numbers in found.empty.items():
            if len(numbers) != 2 or not 0 <= numbers[1] <= numbers[0]:
                raise ValueError(f"empty.{region} is not a number of cases and a part of it")
        return found


def _coefficients(
    cases: Sequence[DiceSample], regions: Sequence[str], names: Sequence[str]
) -> list[float]:
    """Mean, difference of each region and weight of each feature, by least squares with a prior."""
    first = 1 + len(regions)
    rows = np.zeros((len(cases), first + len(names)))
    rows[:, 0] = 1
    for row, case in zip(rows, cases, strict=True):
        row[1 + regions.index(case.region)] = 1
        row[first:] = _scaled(case.features, names)
    expected = np.array([_MEAN, *[0.0] * len(regions), *[_WEIGHTS / len(names)] * len(names)])
    spread = [_MEAN_SD, *[_REGION_SD] * len(regions), *[_WEIGHT_SD] * len(names)]
    prior = np.diag(_CASE_SD / np.array(spread))
    found: list[float] = lsq_linear(
        np.vstack([rows, prior]),
        np.concatenate([[case.dice for case in cases], prior @ expected]),
        ([*[-np.inf] * first, *[0.0] * len(names)], np.inf),
        method="bvls",
    ).x.tolist()
    return found


def _scaled(features: Mapping[str, float], names: Sequence[str]) -> list[float]:
    scales = [_SCALES[name] for name in names]
    return [
        _bounded((features[name] - centre) / scale)
        for name, (centre, scale) in zip(names, scales, strict=True)
    ]


def _bounded(value: float) -> float:
    return max(-_FARTHEST, min(_FARTHEST, value))


def _within_0_and_1(value: float) -> float:
    """A value bent towards 0 and 1 outside 0.1 to 0.9, so that no two values become equal."""
    if value > 0.5:
        return 1 - _within_0_and_1(1 - value)
    return value if value >= 0.1 else 0.1 * float(np.exp(10 * value - 1))


def _spread(errors: Iterable[float], expected: float) -> float:
    squares = [error**2 for error in errors]
    total = _PRIOR_CASES * expected**2 + sum(squares)
    return float((total / (_PRIOR_CASES + len(squares))) ** 0.5)


def _empty(cases: Sequence[DiceSample]) -> dict[str, list[float]]:
    empty = [case for case in cases if not case.features["voxels"]]
    return {
        region: [
            float(sum(case.region == region for case in empty)),
            float(sum(case.dice for case in empty if case.region == region)),
        ]
        for region in sorted({case.region for case in empty})
    }
