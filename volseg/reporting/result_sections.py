"""Sections of a report on results of `infer`, which have no references: volumes and doubts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from volseg.reporting import charts
from volseg.reporting.content import Block, CaseLink, Notes, Row, Section, Table
from volseg.reporting.results import Results
from volseg.words import cases_in_words

_FOLDED_ABOVE = 30


def result_sections(results: Results) -> list[Section]:
    """Sections on the volumes of all cases."""
    sections = [
        Section("volumes", "Volumes", [*_volume_blocks(results)]),
        Section("remarks", "Notes on cases", [*_note_blocks(results)]),
    ]
    return [section for section in sections if section.blocks]


def regions_of(results: Results) -> list[str]:
    """Regions of the results, in the order of their label scheme."""
    names = [name for record in results.records.values() for name in record.get("volumes_ml", {})]
    return list(dict.fromkeys(names))


def doubtful_first(results: Results) -> list[str]:
    """Cases with notes or missing channels, then the others, each in the order of the results."""
    return sorted(results.records, key=lambda case_id: not case_notes(results.records[case_id]))


def case_notes(record: Mapping[str, Any]) -> list[str]:
    """Notes of a record, and its missing channels."""
    missing = record.get("missing_channels", [])
    lacking = [f"without {', '.join(missing)}: another channel stands in"] if missing else []
    return [*lacking, *map(str, record.get("notes", []))]


def _volume_blocks(results: Results) -> Iterator[Block]:
    regions = regions_of(results)
    volumes = {
        region: {
            case_id: float(record["volumes_ml"][region])
            for case_id, record in results.records.items()
            if region in record.get("volumes_ml", {})
        }
        for region in regions
    }
    known = [value for cases in volumes.values() for value in cases.values()]
    if not known:
        return
    axis = charts.x_axis(known, is_log=True)
    yield charts.strip(volumes, axis, ("Predicted volume of each case", "volume in ml"))
    if 0 in known:
        yield Notes(["Regions without a predicted voxel lie at the left edge."])
    rows: list[Row] = [
        (CaseLink(case_id), *(_ml(volumes[region].get(case_id)) for region in regions))
        for case_id in doubtful_first(results)
    ]
    columns = ("case", *(f"{region} (ml)" for region in regions))
    yield Table(
        f"Volumes of {cases_in_words(len(rows))}",
        columns,
        rows,
        is_folded=len(rows) > _FOLDED_ABOVE,
    )


def _ml(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _note_blocks(results: Results) -> Iterator[Block]:
    rows = [
        (CaseLink(case_id), note)
        for case_id, record in results.records.items()
        for note in case_notes(record)
    ]
    if rows:
        yield Table("Notes of volseg infer", ("case", "note"), rows)


def volume_table(record: Mapping[str, Any]) -> Table:
    """Volumes of one case, by region."""
    rows = [(region, _ml(value)) for region, value in record.get("volumes_ml", {}).items()]
    return Table("Volumes", ("region", "volume (ml)"), rows)


def volume_summary(record: Mapping[str, Any]) -> str:
    """Volumes by region, in words."""
    volumes = record.get("volumes_ml", {})
    found = [f"{region} {_ml(value)} ml" for region, value in volumes.items()]
    return f"Predicted: {', '.join(found)}" if found else "No volume is recorded"
