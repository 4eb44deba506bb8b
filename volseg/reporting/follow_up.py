"""Follow-up: sizes of each patient's regions over time, and their table beside the page."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.cases.time_points import (
    Timeline,
    Timelines,
    patients_of,
    timelines_by_name,
    timelines_by_table,
)
from volseg.errors import DataListError
from volseg.files.ownership import FOLLOW_UP_ENDING
from volseg.files.writing import atomic_write
from volseg.measures import RegionMeasures
from volseg.measures.record import read_measures
from volseg.measures.response import (
    RULE,
    Change,
    product_changes,
    volume_changes,
)
from volseg.reporting.results import Results

#: Word for time points by the names of cases, in place of a table.
NAMES = "names"

#: What helps where the order of cases is not clear.
REMEDY = "give a table of case, patient, and date or time: --follow-up TABLE.csv"
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
            remedy=REMEDY,
        )
    measures = {case: _measures(results, case) for case in patients}
    return FollowUp(
        found,
        {line.patient_id: list(_regions(line, measures)) for line in found.found},
    )


def follow_up_path(page: Path) -> Path:
    """Path of the table of a page, so that pages in one folder have tables of their own.

    >>> follow_up_path(Path("report.html")).name
    'report_follow_up.csv'
    """
    return page.with_name(f"{page.stem}{FOLLOW_UP_ENDING}")


def follow_up_remarks(found: FollowUp) -> list[str]:
    """Patients that are not followed, and what the table and the results do not share."""
    lines = found.timelines
    remarks = [
        f"Not followed: {patient}, as {reason}; {REMEDY}."
        for patient, reason in lines.unclear.items()
    ]
    if lines.unmatched:
        remarks.append(f"In the table, but not in the results: {', '.join(lines.unmatched)}.")
    if lines.left_out:
        remarks.append(f"Not in the table: {', '.join(lines.left_out)}.")
    if unsized := [patient for patient, of in found.regions.items() if not any(map(_is_sized, of))]:
        remarks.append(
            f"Without sizes over time, as no size in ml or mm is known: {', '.join(unsized)}."
        )
    return remarks


def _is_sized(of: RegionFollowUp) -> bool:
    return any(one.value is not None for one in (*of.volumes, *of.products))


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
