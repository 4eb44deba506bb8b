"""Overview of a folder of results: the table of volumes and the contact sheets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volseg.confidence.record import read_confidence
from volseg.confidence.verdict import CaseConfidence
from volseg.figures.contact_sheet import MOST_CASES, SheetEntry, draw_sheet
from volseg.figures.figure_files import optional_picture
from volseg.files.writing import remove
from volseg.measures import RegionMeasures
from volseg.measures.record import read_measures
from volseg.measures.table import write_measures
from volseg.results.companions import PREVIEW, VOLUMES_FILE, sheet_name, sheets_in
from volseg.words import cases_in_words, volume_in_ml

# Sizes of regions in a line below a picture.
_IN_LINE = 3


def write_overview(output: Path, records: Mapping[str, Any], *, draws: bool) -> None:
    """Write the table of volumes and, if pictures are wanted, the contact sheets.

    Sheets of an earlier run that no longer apply are removed.

    Args:
        output: Folder of the results.
        records: Records of all results in it, by case id.
        draws: Whether pictures are wanted.

    Raises:
        OutputError: If the table cannot be written.
    """
    measures = {case_id: read_measures(record) for case_id, record in records.items()}
    confidence = {case_id: read_confidence(record) for case_id, record in records.items()}
    predicted = {case_id: _predicted(of) for case_id, of in confidence.items()}
    write_measures(output / VOLUMES_FILE, measures, predicted)
    pictured = any(record.get(PREVIEW) for record in records.values())
    pages = math.ceil(len(records) / MOST_CASES) if pictured and draws else 0
    for sheet in sheets_in(output):
        if sheet.name not in {sheet_name(page) for page in range(1, pages + 1)}:
            remove(sheet)
    regions = list(dict.fromkeys(region for of in measures.values() for region in of))
    entries = [
        SheetEntry(
            case_id,
            _preview(output, record),
            [*_lines(record, measures[case_id]), *_doubt(confidence[case_id])],
        )
        for case_id, record in records.items()
    ]
    for page in range(1, pages + 1):
        shown = entries[(page - 1) * MOST_CASES : page * MOST_CASES]
        title = f"Predictions of {cases_in_words(len(entries))}"
        path = output / sheet_name(page)
        with optional_picture(path):
            draw_sheet(
                path, title + (f", page {page} of {pages}" if pages > 1 else ""), shown, regions
            )


def _predicted(of: CaseConfidence) -> dict[str, tuple[float, float, float]]:
    return {region: (one.dice, one.low, one.high) for region, one in of.predicted_dice.items()}


def _doubt(of: CaseConfidence) -> list[str]:
    """Whether the images are unlike those of training, the lowest predicted Dice, and a mark."""
    # Of such images, the predicted Dice says little.
    if of.unlike_training:
        return ["unlike the training images", "look at this one"]
    lowest = min(of.predicted_dice.items(), key=lambda item: item[1].dice, default=None)
    words = [f"predicted Dice {lowest[0]} {lowest[1].dice:.2f}"] if lowest else []
    return [*words, *(["look at this one"] if of.look_at else [])]


def _preview(output: Path, record: Mapping[str, Any]) -> Path | None:
    mark = record.get(PREVIEW)
    return output / mark["file"] if mark else None


def _lines(record: Mapping[str, Any], measures: Mapping[str, RegionMeasures]) -> list[str]:
    """Volumes or numbers of pixels, such as `WT 20.10 TC 3.00 ET 0.50 ml`, and what is missing."""
    known = {region: of.volume_ml for region, of in measures.items() if of.volume_ml is not None}
    sizes, unit = (
        ([f"{region} {volume_in_ml(ml)}" for region, ml in known.items()], "ml")
        if known
        else ([f"{region} {of.voxels}" for region, of in measures.items()], "pixels")
    )
    parts = [" ".join(sizes[first : first + _IN_LINE]) for first in range(0, len(sizes), _IN_LINE)]
    lines = [f"{part} {unit}" for part in parts]
    missing = record.get("missing_channels")
    return [*lines, f"{', '.join(missing)} missing"] if missing else lines
