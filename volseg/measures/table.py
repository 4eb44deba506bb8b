"""Measures of many cases as a CSV file, a row for each region of each case."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from volseg.files.writing import atomic_write
from volseg.measures.region import RegionMeasures

#: `{case_id: {region: measures}}`
CaseMeasures = Mapping[str, Mapping[str, RegionMeasures]]

COLUMNS = (
    "case_id",
    "region",
    "volume_ml",
    "voxels",
    "lesions",
    "longest_mm",
    "perpendicular_mm",
    "product_mm2",
    "slice",
    "largest_area_pixels",
    "largest_area_mm2",
    "largest_area_slice",
    "predicted_dice",
    "predicted_dice_low",
    "predicted_dice_high",
)

# Digits after the point; volumes have more, so that a voxel of a fine grid is not 0 ml.
_ML_DIGITS, _MM_DIGITS, _DICE_DIGITS = 6, 2, 5

#: Predicted Dice and its interval, `{case_id: {region: (dice, low, high)}}`
PredictedDices = Mapping[str, Mapping[str, tuple[float, float, float]]]


def write_measures(path: Path, measures: CaseMeasures, predicted_dice: PredictedDices) -> None:
    """Write the measures of cases, rounded; a value that is not known or not defined is left empty.

    Args:
        path: CSV file to write.
        measures: Measures of each region of each case.
        predicted_dice: Predicted Dice of the cases and regions that have one.

    Raises:
        OutputError: If the file cannot be written, or volseg did not write the file in its place.
    """
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_rows(measures, predicted_dice))


def _rows(measures: CaseMeasures, predicted_dice: PredictedDices) -> Iterator[tuple[object, ...]]:
    for case_id, regions in measures.items():
        predicted = predicted_dice.get(case_id, {})
        for region, of in regions.items():
            yield (
                case_id,
                region,
                _rounded(of.volume_ml, _ML_DIGITS),
                of.voxels,
                of.n_lesions,
                *_diameter(of),
                *_area(of),
                *(_rounded(dice, _DICE_DIGITS) for dice in predicted.get(region, (None,) * 3)),
            )


def _diameter(of: RegionMeasures) -> tuple[object, ...]:
    found = of.diameter
    if found is None:
        return (None,) * 4
    sizes = (found.longest_mm, found.perpendicular_mm, found.product_mm2)
    return (*(round(size, _MM_DIGITS) for size in sizes), found.slice_number)


def _area(of: RegionMeasures) -> tuple[object, ...]:
    found = of.section
    if found is None:
        return (None,) * 3
    return found.pixels, _rounded(found.area_mm2, _MM_DIGITS), found.slice_number


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
