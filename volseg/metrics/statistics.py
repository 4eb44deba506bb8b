"""Bootstrap intervals of means over patients."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

#: Definition of an interval, for the files that hold it.
INTERVAL = (
    "95 % interval of the mean over patients: percentile bootstrap, 9999 resamples of the patients "
    "with a fixed seed; none with fewer than 3 patients"
)

_RESAMPLES = 9999
_SEED = 0
# Draws at a time: with their counts, 8 MB.
_AT_A_TIME = 2**18
_FEWEST_FOR_INTERVAL = 3

Interval = tuple[float, float]


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Percentile bootstrap interval of the mean at 95 %; None for fewer than three values.

    The seed is fixed, so runs with the same patients in the same order have the same resamples.

    Args:
        values: A value for each patient.

    References:
        Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    (interval,) = mean_intervals([values], range(len(values)))
    return interval


def mean_intervals(
    rows: Sequence[Sequence[float | None]], patients: Sequence[Hashable]
) -> list[Interval | None]:
    """Interval of the mean of each row, over the same cases; see `mean_interval`.

    A patient with several cases is drawn with all of them, since they are not independent.

    Args:
        rows: Values of the cases, a row for each mean; None where a case has no value.
        patients: Patient of each case.
    """
    values = np.array(rows, dtype=np.float64).reshape(len(rows), len(patients))
    known = ~np.isnan(values)
    intervals: list[Interval | None] = [None] * len(rows)
    # Rows with values of the same cases share their resamples.
    for cases in np.unique(known, axis=0):
        same = np.flatnonzero((known == cases).all(axis=1))
        drawn = [patient for patient, there in zip(patients, cases, strict=True) if there]
        number = {patient: n for n, patient in enumerate(dict.fromkeys(drawn))}
        if len(number) < _FEWEST_FOR_INTERVAL:
            continue
        place = [number[patient] for patient in drawn]
        for row, interval in zip(same, _intervals(values[same][:, cases], place), strict=True):
            intervals[row] = interval
    return intervals


def _intervals(values: npt.NDArray[np.float64], place: Sequence[int]) -> list[Interval]:
    """Intervals of the means of rows (m, n), whose n cases belong to patients 0, 1, ..."""
    patients = max(place) + 1
    sums = np.stack([np.bincount(place, row) for row in values], axis=1)
    sizes = np.bincount(place)
    means = np.empty((_RESAMPLES, len(values)))
    generator = np.random.RandomState(_SEED)
    # The size of batches does not change the resamples.
    batch = max(1, _AT_A_TIME // patients)
    for first in range(0, _RESAMPLES, batch):
        n = min(batch, _RESAMPLES - first)
        drawn = generator.randint(0, patients, (n, patients)) + patients * np.arange(n)[:, None]
        times = np.bincount(drawn.ravel(), minlength=n * patients).reshape(n, patients)
        means[first : first + n] = (times @ sums) / (times @ sizes)[:, None]
    low, high = np.quantile(means, [0.025, 0.975], axis=0).tolist()
    return list(zip(low, high, strict=True))
