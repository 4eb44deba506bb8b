"""Sections of a report on results of `infer`, which have no references: sizes and notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from volseg.confidence.verdict import look_at_first
from volseg.measures import RegionMeasures
from volseg.measures.record import read_measures
from volseg.reporting import charts
from volseg.reporting.axes import x_axis
from volseg.reporting.confidence_sections import confidence_of, look_at_sections
from volseg.reporting.content import Block, CaseLink, Notes, Row, Section, Table
from volseg.reporting.results import Results
from volseg.words import cases_in_words

_FOLDED_ABOVE = 30


def result_sections(results: Results) -> list[Section]:
    """Sections on the confidence in all cases, their sizes and notes."""
    sections = [
        *look_at_sections(results),
        Section("volumes", "Volumes", [*_size_blocks(results)]),
        Section("remarks", "Notes on cases", [*_note_blocks(results)]),
    ]
    return [section for section in sections if section.blocks]


def doubtful_first(results: Results) -> list[str]:
    """Cases to look at first, then those with notes, then the others in the order of results."""
    first = look_at_first(confidence_of(results))
    others = [case_id for case_id in results.records if case_id not in first]
    noted = sorted(others, key=lambda case_id: not case_notes(results.records[case_id]))
    return [*first, *noted]


def case_notes(record: Mapping[str, Any]) -> list[str]:
    """Notes of a record, and its missing channels."""
    missing = record.get("missing_channels", [])
    lacking = [f"without {', '.join(missing)}"] if missing else []
    return [*lacking, *map(str, record.get("notes", []))]


def _size_blocks(results: Results) -> Iterator[Block]:
    measures = {case_id: read_measures(record) for case_id, record in results.records.items()}
    regions = list(dict.fromkeys(region for of in measures.values() for region in of))
    # The volume of a case is unknown if the size of a voxel is.
    is_sized = any(of.volume_ml is not None for case in measures.values() for of in case.values())
    name, unit = ("volume_ml", "ml") if is_sized else ("voxels", "voxels")
    sizes = {
        region: {
            case_id: float(size)
            for case_id, of in measures.items()
            if region in of and (size := getattr(of[region], name)) is not None
        }
        for region in regions
    }
    known = [value for cases in sizes.values() for value in cases.values()]
    if not known:
        return
    what = "Predicted volume of each case" if is_sized else "Predicted voxels of each case"
    axis = x_axis(known, is_log=True)
    yield charts.strip(sizes, axis, (what, f"volume in {unit}" if is_sized else unit))
    if 0 in known:
        yield Notes(["Regions without a predicted voxel lie at 0."])
    rows: list[Row] = [
        (CaseLink(case_id), *(_text(sizes[r].get(case_id), 3 * is_sized) for r in regions))
        for case_id in doubtful_first(results)
    ]
    columns = ("case", *(f"{region} ({unit})" for region in regions))
    caption = f"{'Volumes' if is_sized else 'Voxels'} of {cases_in_words(len(rows))}"
    yield Table(caption, columns, rows, is_folded=len(rows) > _FOLDED_ABOVE)


def _text(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _note_blocks(results: Results) -> Iterator[Block]:
    rows = [
        (CaseLink(case_id), note)
        for case_id, record in results.records.items()
        for note in case_notes(record)
    ]
    if rows:
        yield Table("Notes of volseg infer", ("case", "note"), rows)


def size_table(record: Mapping[str, Any]) -> Table:
    """Sizes of one case, by region; diameters are those of RANO, in an axial slice."""
    rows = [
        (
            *(region, _text(of.volume_ml, 3), _count(of.voxels), _count(of.n_lesions)),
            *_diameters(of),
        )
        for region, of in read_measures(record).items()
    ]
    columns = (
        *("region", "volume (ml)", "voxels", "lesions"),
        *("longest diameter (mm)", "perpendicular (mm)", "in slice"),
    )
    return Table("Sizes", columns, rows)


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def _diameters(of: RegionMeasures) -> tuple[str, str, str]:
    found = of.diameter
    if found is None:
        return ("-", "-", "-")
    return f"{found.longest_mm:.1f}", f"{found.perpendicular_mm:.1f}", str(found.slice_number)


def size_summary(record: Mapping[str, Any]) -> str:
    """Volumes or voxels by region, in words."""
    found = [
        f"{region} {_count(of.voxels)} voxels"
        if of.volume_ml is None
        else f"{region} {_text(of.volume_ml, 3)} ml"
        for region, of in read_measures(record).items()
    ]
    return f"Predicted: {', '.join(found)}" if found else "No size is recorded"
