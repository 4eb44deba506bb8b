"""Change of sizes over time, with the thresholds of RANO 2.0; no diagnosis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from volseg.measures.region import RegionMeasures

#: The rule that the thresholds are of, and what they are not, for pages and files that show them.
RULE = "RANO 2.0 (Wen et al., Journal of Clinical Oncology 41(33), 2023, doi:10.1200/JCO.23.01059)"
NO_DIAGNOSIS = (
    "Sizes are compared with thresholds; that is no diagnosis and no response in the sense of RANO "
    "2.0, which also needs the clinical state, steroids, new and non-measurable lesions, the time "
    "since radiotherapy, confirmation by a later scan, and a physician who reads the scans"
)
#: Both diameters of a measurable lesion in an axial slice are at least this long.
MEASURABLE_MM = 10.0

#: What a size has reached: `gone` (the region is empty), a threshold of partial response or of
#: progression, or neither; `not measurable` if a decrease from a region below `MEASURABLE_MM` or an
#: increase to such a region does not count; `not known` without the diameters that decide this.
Reached = Literal[
    "baseline", "gone", "partial response", "progression", "neither", "not measurable", "not known"
]

_EQUAL_PERCENT = 1e-9


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of one kind of size.

    Attributes:
        size: Name of the size.
        unit: Its unit.
        partial_response_percent: Least decrease from baseline.
        progression_percent: Least increase from the nadir.
    """

    size: str
    unit: str
    partial_response_percent: float
    progression_percent: float

    def __str__(self) -> str:
        return (
            f"{self.size}: partial response from {self.partial_response_percent:g} % below the "
            f"baseline, progression from {self.progression_percent:g} % above the nadir"
        )


VOLUME = Thresholds("volume", "ml", 65.0, 40.0)
PRODUCT = Thresholds("product of diameters", "mm2", 50.0, 25.0)


@dataclass(frozen=True)
class Change:
    """A size at a time point.

    Attributes:
        value: The size; None if it is not known.
        from_baseline_percent: Change from the first time point; None at the first time point, or
            if the size was 0 there.
        from_nadir_percent: Change from the smallest size so far; None in the same cases.
        reached: State or threshold that the size has reached; None if a size is not known.
    """

    value: float | None
    from_baseline_percent: float | None = None
    from_nadir_percent: float | None = None
    reached: Reached | None = None


def volume_changes(measures: Sequence[RegionMeasures]) -> list[Change]:
    """Changes of the volume of a region over its time points."""
    return changes(
        [_volume_ml(of) for of in measures], [is_measurable(of) for of in measures], VOLUME
    )


def _volume_ml(of: RegionMeasures) -> float | None:
    """The volume; None if a record that is rounded has 0 ml for a region that is there."""
    return None if of.voxels and of.volume_ml == 0 else of.volume_ml


def product_changes(measures: Sequence[RegionMeasures]) -> list[Change]:
    """Changes of the product of the largest diameters of a region over its time points.

    It is the product of the lesion with the largest product; RANO 2.0 adds the products of up to
    three target lesions.
    """
    values = [product_mm2(of) for of in measures]
    return changes(values, [is_measurable(of) for of in measures], PRODUCT)


def product_mm2(of: RegionMeasures) -> float | None:
    """Product of the largest diameters: 0 for an empty region, None if it is not known."""
    if of.diameter is not None:
        return of.diameter.product_mm2
    return 0.0 if _volume_ml(of) == 0 else None


def is_measurable(of: RegionMeasures) -> bool | None:
    """Whether both diameters are at least `MEASURABLE_MM`; None if they are not known.

    A region without a voxel is not measurable.
    """
    if of.diameter is None:
        return False if _volume_ml(of) == 0 else None
    return min(of.diameter.longest_mm, of.diameter.perpendicular_mm) >= MEASURABLE_MM


def changes(
    values: Sequence[float | None], measurable: Sequence[bool | None], thresholds: Thresholds
) -> list[Change]:
    """Changes of a size over time points.

    A size has reached progression if it is measurable and above the nadir by the threshold, or if
    it was 0 before; that comes before a decrease from baseline, which needs a measurable baseline
    but may end below `MEASURABLE_MM`.

    Args:
        values: The size at each time point; the first is the baseline.
        measurable: Whether the size is measurable at each time point.
        thresholds: Thresholds of this kind of size.

    >>> [one.reached for one in changes([10, 3, 5], [True] * 3, VOLUME)]
    ['baseline', 'partial response', 'progression']
    """
    found = []
    for place, value in enumerate(values):
        before = [earlier for earlier in values[:place] if earlier is not None]
        if value is None or (place and values[0] is None):
            found.append(Change(value))
        elif not place:
            found.append(Change(value, reached="baseline"))
        else:
            baseline, nadir = before[0], min(before)
            of_baseline, of_nadir = _percent(value, baseline), _percent(value, nadir)
            reached = _reached(
                value, (of_baseline, of_nadir), (measurable[0], measurable[place]), thresholds
            )
            found.append(Change(value, of_baseline, of_nadir, reached))
    return found


def _percent(value: float, reference: float) -> float | None:
    return 100 * (value - reference) / reference if reference else None


def _reached(
    value: float,
    percent: tuple[float | None, float | None],
    measurable: tuple[bool | None, bool | None],
    thresholds: Thresholds,
) -> Reached:
    of_baseline, of_nadir = percent
    at_baseline, now = measurable
    is_new = of_nadir is None and value > 0
    least = thresholds.progression_percent - _EQUAL_PERCENT
    if is_new or (of_nadir is not None and of_nadir >= least):
        return _if_measurable(now, "progression")
    if not at_baseline:
        return _if_measurable(at_baseline, "neither")
    if value == 0:
        return "gone"
    most = _EQUAL_PERCENT - thresholds.partial_response_percent
    is_smaller = of_baseline is not None and of_baseline <= most
    return "partial response" if is_smaller else "neither"


def _if_measurable(measurable: bool | None, reached: Reached) -> Reached:
    if measurable is None:
        return "not known"
    return reached if measurable else "not measurable"
