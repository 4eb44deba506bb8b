"""Calibration in a report, if `infer --probabilities` wrote probability maps."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from volseg.cases.result_maps import MapKind
from volseg.errors import GeometryError, VolsegError, of_case
from volseg.evaluation.pairs import CasePair
from volseg.images.nifti_reading import read_case
from volseg.metrics.calibration import BINS, MARGIN, Reliability, counted_box
from volseg.progress import track
from volseg.reporting import charts
from volseg.reporting.axes import x_axis, y_axis
from volseg.reporting.content import Block, Notes, Section, Table
from volseg.reporting.results import Results
from volseg.words import cases_in_words

logger = logging.getLogger(__name__)

#: Cases that are read, at most; maps of probabilities are large.
MOST_CASES = 20


def calibration_section(results: Results, pairs: Mapping[str, CasePair]) -> list[Section]:
    """Reliability by region; nothing without maps of probabilities.

    Args:
        results: Scores, with the manifest that records the maps.
        pairs: Prediction and reference of the cases to read.
    """
    recorded = [
        case_id for case_id in pairs if results.records.get(case_id, {}).get("probabilities")
    ]
    if not recorded:
        return []
    found: dict[str, Reliability] = {}
    used, lost = 0, []
    for case_id in track(recorded, "reading probabilities", len(recorded)):
        try:
            of_regions = _of_case(pairs[case_id], results.predictions)
        except VolsegError as error:
            logger.warning("%s: no calibration: %s", case_id, error.without_case)
            lost.append(f"{case_id} is left out: {error.without_case}")
            continue
        used += 1
        for region, counts in of_regions.items():
            found[region] = found[region] + counts if region in found else counts
    blocks: list[Block] = [Notes(lost, is_warning=True)] if lost else []
    if found:
        blocks += _blocks(found, used, len(results.case_ids))
    return [Section("calibration", "Calibration", blocks)]


def calibration_cases(results: Results) -> list[str]:
    """Cases to read: those with maps, or `MOST_CASES` of them, spread evenly over their names."""
    known = set(results.case_ids)
    recorded = sorted(
        case_id
        for case_id, record in results.records.items()
        if record.get("probabilities") and case_id in known
    )
    step = max(1.0, len(recorded) / MOST_CASES)
    return [recorded[int(number * step)] for number in range(min(MOST_CASES, len(recorded)))]


def _blocks(found: Mapping[str, Reliability], used: int, total: int) -> Sequence[Block]:
    axes = x_axis((), is_share=True), y_axis()
    curves = {region: counts.curve for region, counts in found.items()}
    titles = ("Reliability; dashed: perfect", "predicted probability", "share in the reference")
    rows = [
        (region, f"{counts.ece:.4f}", f"{int(counts.voxels.sum())}")
        for region, counts in found.items()
    ]
    which = cases_in_words(used) if used == total else f"{used} of {total} cases"
    note = (
        f"Over {which}: voxels in the box around the region in prediction or reference, with "
        f"{MARGIN} more on each side, in {BINS} intervals of probability. ECE (expected "
        "calibration error): mean difference between predicted probability and observed share."
    )
    table = Table("Expected calibration error", ("region", "ECE", "voxels"), rows, note)
    return [charts.curves(curves, axes, titles, diagonal=True), table]


def _of_case(pair: CasePair, folders: Sequence[Path]) -> dict[str, Reliability]:
    case = pair.case
    with of_case(case.case_id):
        reference, _ = case.read_reference()
        masks = pair.reference_labels.masks(reference)
        found = {}
        for region in pair.regions:
            name = MapKind.PROBABILITY.of(region)
            paths = [case.map_files(folder, [name])[0] for folder in folders]
            path = next((path for path in paths if path.is_file()), paths[0])
            probabilities = read_case([path], ["probability"], ["probability"]).array[0]
            if probabilities.shape != reference.shape:
                raise GeometryError(
                    f"{path} has shape {probabilities.shape}, but the reference {reference.shape}",
                    remedy="segment the case again",
                )
            box = counted_box(probabilities, masks[region])
            found[region] = Reliability.of(probabilities[box], masks[region][box])
    return found
