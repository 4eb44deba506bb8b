"""Calibration in a report, if `evaluate` found probability maps of `infer --probabilities`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from volseg.metrics.calibration import BINS, ECE_IN_WORDS
from volseg.metrics.calibration_table import COUNTED
from volseg.reporting import charts
from volseg.reporting.axes import x_axis, y_axis
from volseg.reporting.content import Block, Notes, Section, Table
from volseg.reporting.results import Results
from volseg.words import cases_in_words

_TITLES = {
    "after": "Reliability; dashed: perfect",
    "before": "Reliability before the temperature; dashed: perfect",
}


def calibration_section(results: Results) -> list[Section]:
    """Reliability by region, of `scores.json`; nothing without maps of probabilities."""
    recorded = results.scores.get("calibration")
    if recorded is None:
        return _of_older_scores(results)
    left_out = [f"{case_id} is left out: {why}" for case_id, why in recorded["left_out"].items()]
    blocks: list[Block] = [Notes(left_out, is_warning=True)] if left_out else []
    if recorded["regions"]:
        blocks += _blocks(recorded["regions"], len(results.case_ids))
    return [Section("calibration", "Calibration", blocks)]


def _of_older_scores(results: Results) -> list[Section]:
    """A note where there are maps, but the scores are of a volseg that did not measure them."""
    if not any(
        results.records.get(case_id, {}).get("probabilities") for case_id in results.case_ids
    ):
        return []
    note = "There are maps of probabilities; volseg evaluate measures their calibration."
    return [Section("calibration", "Calibration", [Notes([note])])]


def _blocks(regions: Mapping[str, Mapping[str, Any]], total: int) -> Sequence[Block]:
    axes = x_axis((), is_share=True), y_axis()
    found: list[Block] = []
    for part, title in _TITLES.items():
        curves = {
            region: [
                (row["probability"], row["share"]) for row in of[part]["curve"] if row["voxels"]
            ]
            for region, of in regions.items()
            if of.get(part)
        }
        if curves:
            titles = (title, "predicted probability", "share in the reference")
            found.append(charts.curves(curves, axes, titles, diagonal=True))
    return [*found, _table(regions, total)]


def _table(regions: Mapping[str, Mapping[str, Any]], total: int) -> Table:
    is_tempered = any(of.get("before") for of in regions.values())
    used = max(of["cases"] for of in regions.values())
    which = cases_in_words(used) if used == total else f"{used} of {total} cases"
    note = (
        f"Over {which}: {COUNTED}, in {BINS} intervals of probability. ECE (expected "
        f"calibration error): {ECE_IN_WORDS}."
    )
    columns = ("temperature", "ECE before") if is_tempered else ()
    rows = [
        (region, *(_of_temperature(of) if is_tempered else ()), *_of_written(of))
        for region, of in regions.items()
    ]
    return Table("Expected calibration error", ("region", *columns, "ECE", "voxels"), rows, note)


def _of_temperature(of: Mapping[str, Any]) -> tuple[str, str]:
    before = of.get("before") or of["after"]
    return " and ".join(f"{value:g}" for value in of["temperatures"]), f"{before['ece']:.4f}"


def _of_written(of: Mapping[str, Any]) -> tuple[str, str]:
    return f"{of['after']['ece']:.4f}", str(of["voxels"])
