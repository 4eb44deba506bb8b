"""Measures of segmented cases as tables: a row for each region of each case, or a summary."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

from volseg.cli.tables import print_table
from volseg.words import volume_in_ml

if TYPE_CHECKING:
    from volseg.measures import RegionMeasures
    from volseg.measures.table import CaseMeasures

# More cases than this are summarised.
_CASES = 12

Of = Callable[["RegionMeasures"], float | None]


def print_measures(measures: CaseMeasures) -> None:
    """Print the sizes of the regions of a few cases, or medians and ranges of many cases."""
    if len(measures) > _CASES:
        _print_summary(measures)
    elif measures:
        _print_cases(measures)


def _print_cases(measures: CaseMeasures) -> None:
    has_size = any(
        of.volume_ml is not None for regions in measures.values() for of in regions.values()
    )
    rows = []
    for case_id, regions in measures.items():
        for place, (region, of) in enumerate(regions.items()):
            name = "" if place else case_id
            rows.append((name, region, *(_sizes(of) if has_size else _pixels(of))))
    columns = (
        ("ml", "lesions", "diameters (mm)", "in slice")
        if has_size
        else ("pixels", "lesions", "largest area", "in slice")
    )
    print_table("Predicted regions", ("case", "region", *columns), rows)


def _sizes(of: RegionMeasures) -> tuple[str, ...]:
    across = of.diameter
    return (
        "-" if of.volume_ml is None else volume_in_ml(of.volume_ml),
        _count(of.n_lesions),
        f"{across.longest_mm:.1f} x {across.perpendicular_mm:.1f}" if across else "-",
        str(across.slice_number) if across else "-",
    )


def _pixels(of: RegionMeasures) -> tuple[str, ...]:
    section = of.section
    return (
        _count(of.voxels),
        _count(of.n_lesions),
        f"{section.pixels} pixels" if section else "-",
        str(section.slice_number) if section else "-",
    )


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def _print_summary(measures: CaseMeasures) -> None:
    of_region: dict[str, list[RegionMeasures]] = {}
    for regions in measures.values():
        for region, of in regions.items():
            of_region.setdefault(region, []).append(of)
    has_size = any(of.volume_ml is not None for each in of_region.values() for of in each)
    of_size: Of = (lambda of: of.volume_ml) if has_size else (lambda of: of.voxels)
    unit = "ml" if has_size else "pixels"
    text: Callable[[float], str] = volume_in_ml if has_size else "{:.0f}".format
    rows = []
    for region, each in of_region.items():
        known = [size for of in each if (size := of_size(of)) is not None]
        found = [size for size in known if size]
        span = f"{text(min(found))} to {text(max(found))}" if found else "-"
        middle = text(median(found)) if found else "-"
        rows.append((region, f"{len(found)} of {len(known)}", middle, span))
    columns = ("region", "found in cases", f"median of these ({unit})", f"range ({unit})")
    print_table("Predicted regions", columns, rows)
