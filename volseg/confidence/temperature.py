"""Temperature of a region: probabilities whose logits are divided by a number, and its fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from volseg.config.training import TEMPERATURES
from volseg.metrics.calibration import Reliability, counted_box

Counts = npt.NDArray[np.float64]

#: Fewest voxels of a fit, and fewest of them in the reference and outside it.
FEWEST_VOXELS = 100
FEWEST_OF_EACH = 10
# Logits of float32 lie between -88 and 16.7. The first interval holds probabilities of 0, which no
# temperature changes; the likelihood takes them for the smallest value that 1 - p can have.
_LOWEST, _HIGHEST, _BINS_PER_UNIT = -90, 17, 32
_BINS = (_HIGHEST - _LOWEST) * _BINS_PER_UNIT
_CENTRES = _LOWEST + (np.arange(_BINS) + 0.5) / _BINS_PER_UNIT
_BELOW_1 = np.nextafter(np.float32(1), np.float32(0))


def tempered(probabilities: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float32]:
    """Probabilities with their logits divided by a temperature: sigmoid(logit(p) / T). [1]

    Above 1, a temperature draws probabilities towards 0.5; below 1, it draws them apart. Their
    order and the side of 0.5 stay. 0 stays 0; 1 counts as the largest float32 below 1, since a
    sigmoid in float32 is 1 for all logits above 17.

    Args:
        probabilities: Values from 0 to 1, any shape.
        temperature: Above 0; with 1, the array itself is returned.

    References:
        [1] Guo et al., "On calibration of modern neural networks", ICML 2017.
            https://proceedings.mlr.press/v70/guo17a.html

    Examples:
        >>> tempered(np.array([0.1, 0.5, 0.9], np.float32), 2.0).round(4).tolist()
        [0.25, 0.5, 0.75]
    """
    if temperature == 1:
        return probabilities
    logits = logit(np.minimum(probabilities, _BELOW_1))
    logits /= np.float32(temperature)
    return expit(logits).astype(np.float32, copy=False)


@dataclass(frozen=True, eq=False)
class LogitCounts:
    """Voxels of one region by the logit of their probability; those of several cases can be added.

    Attributes:
        voxels: Number of voxels in each of the equal intervals of logits.
        positives: Number of them in the reference.
    """

    voxels: Counts
    positives: Counts

    @classmethod
    def of(
        cls, probabilities: npt.NDArray[np.float32], reference: npt.NDArray[np.bool_]
    ) -> LogitCounts:
        """Counts of a case, within the box that `metrics.calibration` counts.

        Args:
            probabilities: Probabilities of a region, any shape.
            reference: Mask of the same shape.
        """
        box = counted_box(probabilities, reference)
        values, inside = probabilities[box].ravel(), reference[box].ravel()
        logits = logit(np.minimum(values, _BELOW_1)).clip(_LOWEST, _HIGHEST)
        bins = np.minimum((logits - _LOWEST) * _BINS_PER_UNIT, _BINS - 1).astype(np.intp)
        found = (np.bincount(of, minlength=_BINS) for of in (bins, bins[inside]))
        return cls(*(counts.astype(np.float64) for counts in found))

    def __add__(self, other: LogitCounts) -> LogitCounts:
        return LogitCounts(self.voxels + other.voxels, self.positives + other.positives)

    def nll(self, temperature: float) -> float:
        """Negative log-likelihood of the reference, mean over voxels in nats; 0 without voxels."""
        scaled, total = _CENTRES / temperature, self.voxels.sum()
        scaled[0] = -_HIGHEST
        sums = self.voxels @ np.logaddexp(0, scaled) - self.positives @ scaled
        return float(sums / total) if total else 0.0

    def reliability(self, temperature: float) -> Reliability:
        """Voxels by probability with this temperature, for the calibration error."""
        probabilities = expit(_CENTRES / temperature)
        probabilities[0] = 0
        return Reliability.of_counts(probabilities, self.voxels, self.positives)


def fit_temperature(cases: Sequence[LogitCounts]) -> float:
    """Temperature with the least negative log-likelihood, to three decimals.

    Each case with voxels has the same weight, however large its tumour is.

    Args:
        cases: Counts of one region of each case.

    Raises:
        ValueError: If the region has too few voxels, in the reference or outside it; the message
            is a clause that says so.
    """
    from scipy.optimize import minimize_scalar

    used = [case for case in cases if case.voxels.any()]
    total, positives = (
        int(sum(getattr(case, name).sum() for case in used)) for name in ("voxels", "positives")
    )
    if total < FEWEST_VOXELS or not FEWEST_OF_EACH <= positives <= total - FEWEST_OF_EACH:
        raise ValueError(
            f"{positives} of {total} voxels around the region are in the reference; a fit needs "
            f"{FEWEST_VOXELS} voxels, {FEWEST_OF_EACH} of them inside and {FEWEST_OF_EACH} outside"
        )
    # The likelihood has one maximum, as its logarithm is concave in 1 / T.
    found = minimize_scalar(
        lambda exponent: math.fsum(case.nll(math.exp(exponent)) for case in used),
        bounds=(math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1])),
        method="bounded",
        options={"xatol": 1e-5},
    )
    return round(float(np.clip(math.exp(found.x), *TEMPERATURES)), 3)
