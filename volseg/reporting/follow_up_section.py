"""Section of a report on follow-up: notes, then tables and curves of each patient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from volseg.cases.time_points import EXAMINATION, Timeline
from volseg.measures.response import MEASURABLE_MM, NO_DIAGNOSIS, PRODUCT, RULE, VOLUME, Change
from volseg.reporting import charts
from volseg.reporting.axes import Tick, apart, size_axis, span_axis
from volseg.reporting.content import Block, CaseLink, Notes, Row, Section, Table
from volseg.reporting.follow_up import FollowUp, RegionFollowUp, follow_up_remarks

_FOLDED_ABOVE = 3
# Names of examinations below a chart.
_MOST_LABELS = 5


def follow_up_section(found: FollowUp) -> Section:
    """Section of a report: notes, then tables and curves of each patient."""
    blocks: list[Block] = [
        Notes([f"{NO_DIAGNOSIS}."], is_warning=True),
        Notes([*_notes(found)]),
    ]
    is_folded = len(found.timelines.found) > _FOLDED_ABOVE
    for line in found.timelines.found:
        blocks += _patient_blocks(line, found.regions[line.patient_id], is_folded=is_folded)
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
        "the products of up to three lesions."
    )
    yield (
        f"A region is measurable if both diameters are at least {MEASURABLE_MM:g} mm. Progression "
        "needs a region that is measurable at that time point; partial response needs a region "
        "that was measurable at the baseline, and may end below that size."
    )
    yield (
        "The vertical axes of the charts are logarithmic; a region without a voxel lies at 0, "
        "below the break."
    )
    yield from follow_up_remarks(found)
    if found.timelines.n_single:
        yield f"Patients with a single time point: {found.timelines.n_single}."


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
        # What matters most comes first, as a phone shows the first columns.
        columns = ["time point", "region", heading, "reached", "from baseline", "from nadir"]
        columns += [*(("diameters (mm)",) if number else ()), "case"]
        rows = [
            _row(line, place, of, changes[index][1][place], is_product=bool(number))
            for place in range(len(line.points))
            for index, of in enumerate(regions)
        ]
        caption = f"{line.patient_id}: {title.lower()}"
        yield Table(caption, columns, rows, is_folded=is_folded)
    for (_, title, changes), of_size in zip(kinds, (VOLUME, PRODUCT), strict=True):
        name = f"{title.split()[0].lower()} ({of_size.unit}), logarithmic"
        if chart := _chart(line, (f"{line.patient_id}: {title.lower()}", name), changes):
            yield chart


def _row(
    line: Timeline, place: int, of: RegionFollowUp, change: Change, *, is_product: bool
) -> Row:
    point = line.points[place]
    across = of.measures[place].diameter
    sides = f"{across.longest_mm:.1f} x {across.perpendicular_mm:.1f}" if across else "-"
    return (
        *(point.label, of.region),
        _number(change.value, 1 if is_product else 3),
        change.reached or "-",
        _percent(change.from_baseline_percent),
        _percent(change.from_nadir_percent),
        *((sides,) if is_product else ()),
        CaseLink(point.case_id),
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    """Change in percent, with the digits that tell a small rest from a region that is gone."""
    if value is None:
        return "-"
    digits = 0
    while value > -100 and round(value, digits) <= -100:
        digits += 1
    return f"{value:+.{digits}f} %"


def _chart(
    line: Timeline,
    titles: tuple[str, str],
    changes: Sequence[tuple[str, Sequence[Change]]],
) -> charts.Chart | None:
    """Curves of the regions with at least one known size.

    Args:
        line: Time points.
        titles: Heading of the chart and name of the vertical axis.
        changes: Sizes over time, by region.
    """
    curves = {
        region: [
            (point.place, one.value)
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
    if line.unit != EXAMINATION or len(places) > _MOST_LABELS:
        return chart
    ticks = [Tick(axes[0].place(point.place), point.label) for point in line.points]
    return replace(chart, x_ticks=apart(ticks))
