"""A report from a folder of scores or results: its head, its sections, its cases."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from volseg.errors import VolsegError
from volseg.evaluation.records import half_written, mixed_origins
from volseg.reporting.content import Block, CaseEntry, Notes, Picture, Report, Section, Table
from volseg.reporting.pictures import case_pictures
from volseg.reporting.result_sections import (
    case_notes,
    doubtful_first,
    result_sections,
    volume_summary,
    volume_table,
)
from volseg.reporting.results import Results
from volseg.reporting.score_sections import (
    case_summary,
    case_table,
    score_sections,
    worst_first,
)
from volseg.reporting.views import ViewOf, views_of
from volseg.words import cases_in_words, grouped

_SHOWN_DIGITS = 12


def build_report(results: Results, cases: int | None) -> Report:
    """Report on scores or results.

    Args:
        results: Content of the folder.
        cases: Number of cases with pictures, at most; None: all.
    """
    order = worst_first(results.scores) if results.scores else doubtful_first(results)
    chosen = order[:cases]
    views, problems = _views(results, chosen)
    sections = score_sections(results.scores) if results.scores else result_sections(results)
    return Report(
        f"Report: {'/'.join(results.folder.resolve().parts[-2:])}",
        _facts(results),
        [*_warnings(results), *problems],
        [*_left_out(results), *sections, *_notes(results)],
        [_entry(results, case_id, views[case_id]) for case_id in chosen] if views else [],
        _order_in_words(results, len(chosen), len(order)),
    )


def _views(results: Results, case_ids: Collection[str]) -> tuple[dict[str, ViewOf], list[str]]:
    """Views by case, or the reason why no case can be drawn."""
    if not case_ids:
        return {}, []
    try:
        return views_of(results, case_ids), []
    except VolsegError as error:
        return {}, [f"no case is drawn: {error}"]


def _order_in_words(results: Results, shown: int, total: int) -> str:
    first = "the lowest mean Dice" if results.scores else "cases with notes"
    which = f"{cases_in_words(shown)}" if shown == total else f"{shown} of {total} cases"
    return f"{which}, {first} first. Outlines: dashed for the reference, solid for the prediction."


def _entry(results: Results, case_id: str, view_of: ViewOf) -> CaseEntry:
    record = results.records.get(case_id, {})
    notes = case_notes(record)
    blocks: list[Block] = []
    if results.scores:
        case = results.scores["cases"][case_id]
        summary = case_summary(case)
        blocks.append(case_table(case))
    else:
        summary = volume_summary(record)
        blocks.append(volume_table(record))
    if notes:
        blocks.append(Notes(notes))
    return CaseEntry(case_id, summary, blocks, partial(_draw, view_of))


def _draw(view_of: Callable[[], Any]) -> Sequence[Picture]:
    return case_pictures(view_of())


def _facts(results: Results) -> dict[str, str]:
    """What the head of the report states."""
    scores, manifest = results.scores, results.manifest
    facts = {
        "Folder": str(results.folder.resolve()),
        "Protocols": ", ".join(["volseg", *scores.get("protocols", {})]) if scores else "",
        "Cases": _counted(results),
        "Predictions": str(scores.get("predictions", "")),
        "Reference": str(scores.get("reference", "")),
        "Model": "; ".join(map(_model, manifest.get("models", ()))),
        "Network": str(scores.get("network", "") or ""),
        "Labels": _labels(scores, manifest),
        "Segmented by": f"volseg {manifest['volseg']}" if "volseg" in manifest else "",
        "Scored by": f"volseg {scores['versions']['volseg']}" if "versions" in scores else "",
    }
    return {name: fact for name, fact in facts.items() if fact}


def _counted(results: Results) -> str:
    done, lost = len(results.case_ids), len(results.failures)
    if not results.scores:
        return f"{done} segmented, {lost} failed"
    missing = len(results.scores.get("missing", ()))
    return f"{done} scored, {missing} missing, {lost - missing} failed"


def _model(model: Mapping[str, Any]) -> str:
    digest = str(model.get("sha256", ""))[:_SHOWN_DIGITS]
    return f"{model.get('path')}" + (f" (SHA-256 {digest}...)" if digest else "")


def _labels(scores: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    if scores:
        names = {str(scores.get("prediction_labels", "")), *scores.get("reference_labels", ())}
        return ", ".join(sorted(names - {""}))
    labels = manifest.get("labels")
    return str(labels.get("name") if isinstance(labels, Mapping) else labels or "")


def _warnings(results: Results) -> list[str]:
    """Doubts of the model and the scores, and results of several origins."""
    of_model = map(str, results.manifest.get("doubts", ()))
    of_scores = map(str, results.scores.get("doubts", ()))
    cases = results.records.keys()
    mixed = half_written(results.manifest, cases) or mixed_origins(results.manifest, cases)
    return [*dict.fromkeys([*of_model, *of_scores]), *([mixed] if mixed else [])]


def _left_out(results: Results) -> list[Section]:
    """Cases without scores or results, and files that were left out, with reasons."""
    blocks: list[Block] = []
    if failures := results.failures:
        what = "scores" if results.scores else "results"
        caption = f"{cases_in_words(len(failures))} without {what}"
        blocks.append(Table(caption, ("case", "reason"), grouped(failures.items())))
    if skipped := results.manifest.get("skipped", ()) if not results.scores else ():
        rows = [(Path(one.get("path", "")).name, str(one.get("reason", ""))) for one in skipped]
        blocks.append(Table("Files that were left out", ("file", "reason"), rows))
    if others := results.scores.get("predictions_without_reference", ()):
        blocks.append(Notes([f"Not scored, as there is no reference: {', '.join(others)}."]))
    return (
        [Section("left-out", "Without scores" if results.scores else "Left out", blocks)]
        if blocks
        else []
    )


def _notes(results: Results) -> list[Section]:
    notes = [str(note) for note in results.scores.get("notes", ())]
    return [Section("notes", "Notes", [Notes(notes)])] if notes else []
