"""Follow-up: sizes of each patient's regions over time, as a section and as `follow_up.csv`."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.cases.time_points import (
    EXAMINATION,
    Timeline,
    Timelines,
    patients_of,
    timelines_by_name,
    timelines_by_table,
)
from volseg.errors import DataListError
from volseg.files.writing import atomic_write
from volseg.measures import RegionMeasures
from volseg.measures.record import read_measures
from volseg.measures.response import (
    MEASURABLE_MM,
    NO_DIAGNOSIS,
    PRODUCT,
    RULE,
    VOLUME,
    Change,
    product_changes,
    volume_changes,
)
from volseg.reporting import charts
from volseg.reporting.axes import Tick, size_axis, span_axis
from volseg.reporting.content import Block, CaseLink, Notes, Row, Section, Table
from volseg.reporting.results import Results

#: File beside the report.
FOLLOW_UP_FILE = "follow_up.csv"
#: Word for time points by the names of cases, in place of a table.
NAMES = "names"

_FOLDED_ABOVE = 3
# Names of examinations below a chart.
_MOST_LABELS = 5
# Units of volumes and products in charts, and factors from ml and mm2.
_CHART_UNITS = (("ml", 1.0), ("cm2", 0.01))
_REMEDY = "give a table of case, patient, and date or time: --follow-up TABLE.csv"
_COLUMNS = (
    *("patient_id", "case_id", "time_point", "place", "unit", "region"),
    *("volume_ml", "volume_from_baseline_percent", "volume_from_nadir_percent", "volume_reached"),
    *("longest_mm", "perpendicular_mm", "product_mm2"),
    *("product_from_baseline_percent", "product_from_nadir_percent", "product_reached", "rule"),
)


@dataclass(frozen=True)
class RegionFollowUp:
    """A region of a patient over time; all sequences are in the order of the time points."""

    region: str
    measures: Sequence[RegionMeasures]
    volumes: Sequence[Change]
    products: Sequence[Change]


@dataclass(frozen=True)
class FollowUp:
    """Timelines of patients, with the regions that all their cases have.

    Attributes:
        timelines: Time points of the patients, and the patients that cannot be followed.
        regions: Regions of each timeline, by patient.
    """

    timelines: Timelines
    regions: Mapping[str, Sequence[RegionFollowUp]]


def follow_patients(results: Results, time_points: str | Path) -> FollowUp:
    """Sizes of the regions of each patient over time.

    Args:
        results: Results, or scores of results.
        time_points: `NAMES`, or a table for `timelines_by_table`.

    Raises:
        DataListError: If no patient has two cases in a clear order, or the table cannot be used.
    """
    patients = patients_of(results.case_ids, results.scores.get("patients") or {})
    found = (
        timelines_by_name(patients)
        if time_points == NAMES
        else timelines_by_table(Path(time_points), patients)
    )
    if not found.found:
        reasons = [*found.unclear.values()]
        raise DataListError(
            f"no patient has two or more cases in a clear order: {reasons[0]}"
            if reasons
            else "no patient has two or more cases, so there is no follow-up",
            remedy=_REMEDY,
        )
    measures = {case: _measures(results, case) for case in patients}
    return FollowUp(
        found,
        {line.patient_id: list(_regions(line, measures)) for line in found.found},
    )


def _measures(results: Results, case: str) -> Mapping[str, RegionMeasures]:
    """Measures of the predicted regions; of other tools' predictions, the scored volumes."""
    if case in results.records:
        return read_measures(results.records[case])
    regions = results.scores["cases"][case]["regions"]
    return read_measures(
        {
            "volumes_ml": {
                region: values["volume_ml"]
                for region, values in regions.items()
                if values.get("volume_ml") is not None
            }
        }
    )


def _regions(
    line: Timeline, measures: Mapping[str, Mapping[str, RegionMeasures]]
) -> Iterator[RegionFollowUp]:
    cases = [measures[point.case_id] for point in line.points]
    for region in cases[0]:
        if all(region in case for case in cases):
            of = [case[region] for case in cases]
            yield RegionFollowUp(region, of, volume_changes(of), product_changes(of))


def follow_up_section(found: FollowUp) -> Section:
    """Section of a report: notes, then tables and curves of each patient."""
    blocks: list[Block] = [
        Notes([f"{NO_DIAGNOSIS}."], is_warning=True),
        Notes([*_notes(found)]),
    ]
    is_folded = len(found.timelines.found) > _FOLDED_ABOVE
    for line in found.timelines.found:
        of_patient = [*_patient_blocks(line, found.regions[line.patient_id], is_folded=is_folded)]
        unknown = Notes([f"{line.patient_id}: no size in ml or mm is known."])
        blocks += of_patient or [unknown]
    return Section("follow-up", "Follow-up", blocks)


def _notes(found: FollowUp) -> Iterator[str]:
    yield f"Thresholds of {RULE}: {VOLUME}; {PRODUCT}."
    yield (
        "RANO 2.0 judges the enhancing tumour (ET) or, without enhancement, the abnormality in T2 "
        "and FLAIR (WT); here the thresholds are shown for each region."
    )
    yield (
        "The baseline is the first time point, the nadir the smallest size so far. RANO 2.0 takes "
        "as baseline the first scan after radiotherapy, or the last scan before a new treatment."
    )
    yield (
        "Diameters are of the lesion with the largest product, in an axial slice; RANO 2.0 adds "
        f"the products of up to three lesions. Not measurable: a diameter below {MEASURABLE_MM:g} "
        "mm."
    )
    yield (
        "The vertical axes of the charts are logarithmic; a region without a voxel lies at the "
        "bottom."
    )
    for patient, reason in found.timelines.unclear.items():
        yield f"Not followed: {patient}, as {reason}; {_REMEDY}."
    if found.timelines.n_single:
        yield f"Patients with a single time point: {found.timelines.n_single}."
    if others := found.timelines.left_out:
        yield f"Not in the table: {', '.join(others)}."


def _patient_blocks(
    line: Timeline, regions: Sequence[RegionFollowUp], *, is_folded: bool
) -> Iterator[Block]:
    kinds = (
        ("volume (ml)", "Volume", [(of.region, of.volumes) for of in regions]),
        ("product (mm2)", "Product of diameters", [(of.region, of.products) for of in regions]),
    )
    for number, (heading, title, changes) in enumerate(kinds):
        if not any(one.value is not None for _, of in changes for one in of):
            continue
        columns = [_heading(line), "case", "region", *(("diameters (mm)",) if number else ())]
        columns += [heading, "from baseline", "from nadir", "reached"]
        rows = [
            _row(line, place, of, changes[index][1][place], is_product=bool(number))
            for place in range(len(line.points))
            for index, of in enumerate(regions)
        ]
        caption = f"{line.patient_id}: {title.lower()}"
        yield Table(caption, columns, rows, is_folded=is_folded)
    for (_, title, changes), (unit, factor) in zip(kinds, _CHART_UNITS, strict=True):
        titles = (f"{line.patient_id}: {title.lower()}", f"{title.lower()} ({unit}), logarithmic")
        if chart := _chart(line, titles, changes, factor):
            yield chart


def _heading(line: Timeline) -> str:
    return line.unit if line.unit == EXAMINATION else "time point"


def _row(
    line: Timeline, place: int, of: RegionFollowUp, change: Change, *, is_product: bool
) -> Row:
    point = line.points[place]
    across = of.measures[place].diameter
    sides = f"{across.longest_mm:.1f} x {across.perpendicular_mm:.1f}" if across else "-"
    return (
        *(point.label, CaseLink(point.case_id), of.region),
        *((sides,) if is_product else ()),
        _number(change.value, 1 if is_product else 3),
        _percent(change.from_baseline_percent),
        _percent(change.from_nadir_percent),
        change.reached or "-",
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.0f} %"


def _chart(
    line: Timeline,
    titles: tuple[str, str],
    changes: Sequence[tuple[str, Sequence[Change]]],
    factor: float,
) -> charts.Chart | None:
    """Curves of the regions with at least one known size.

    Args:
        line: Time points.
        titles: Heading of the chart and name of the vertical axis.
        changes: Sizes over time, by region.
        factor: Factor from the unit of the sizes to that of the chart.
    """
    curves = {
        region: [
            (point.place, factor * one.value)
            for point, one in zip(line.points, of, strict=True)
            if one.value is not None
        ]
        for region, of in changes
    }
    curves = {region: points for region, points in curves.items() if points}
    if not curves:
        return None
    places = [point.place for point in line.points]
    sizes = [size for points in curves.values() for _, size in points]
    axes = (span_axis(places), size_axis(sizes))
    chart = charts.curves(curves, axes, (titles[0], line.unit, titles[1]))
    if 0 in sizes:
        bottom, *others = chart.y_ticks
        chart = replace(chart, y_ticks=[replace(bottom, text="0"), *others])
    if line.unit != EXAMINATION or len(places) > _MOST_LABELS:
        return chart
    ticks = [Tick(axes[0].place(point.place), point.label) for point in line.points]
    return replace(chart, x_ticks=ticks)


def write_follow_up(path: Path, found: FollowUp) -> None:
    """Write a row for each time point and region of each patient.

    Raises:
        OutputError: If the file cannot be written, or volseg did not write the file in its place.
    """
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for line in found.timelines.found:
            for place in range(len(line.points)):
                for of in found.regions[line.patient_id]:
                    writer.writerow(_cells(line, place, of))


def _cells(line: Timeline, place: int, of: RegionFollowUp) -> tuple[object, ...]:
    point, across = line.points[place], of.measures[place].diameter
    sides = (across.longest_mm, across.perpendicular_mm) if across else (None, None)
    return (
        *(line.patient_id, point.case_id, point.label, f"{point.place:g}", line.unit, of.region),
        *_change(of.volumes[place]),
        *map(_rounded, sides),
        *_change(of.products[place]),
        RULE,
    )


def _change(change: Change) -> tuple[object, ...]:
    numbers = (change.value, change.from_baseline_percent, change.from_nadir_percent)
    return (*map(_rounded, numbers), change.reached)


def _rounded(value: float | None) -> float | None:
    return value if value is None else round(value, 5)
