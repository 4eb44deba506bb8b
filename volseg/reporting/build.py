"""A report from a folder of scores or results: its head, its sections, its cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from volseg.errors import VolsegError
from volseg.evaluation.pairs import CasePair
from volseg.evaluation.records import half_written, mixed_origins
from volseg.evaluation.samples import has_images
from volseg.reporting.calibration import calibration_section
from volseg.reporting.confidence_sections import agreement_sections, confidence_blocks
from volseg.reporting.content import Block, CaseEntry, Notes, Picture, Report, Section, Table
from volseg.reporting.pictures import case_pictures
from volseg.reporting.protocol_sections import lesion_tables, protocol_sections
from volseg.reporting.result_sections import (
    case_notes,
    doubtful_first,
    result_sections,
    size_summary,
    size_table,
)
from volseg.reporting.results import Results
from volseg.reporting.score_sections import (
    case_summary,
    case_table,
    score_sections,
    worst_first,
)
from volseg.reporting.views import ViewOf, result_views, scored_pairs, scored_views
from volseg.results.trained_cases import (
    TRAINED_CASES,
    doubts_of_training,
    recorded_training,
    training_in_words,
)
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
    build = _of_scores if results.scores else _of_results
    views, sections, problems = build(results, chosen)
    return Report(
        f"Report: {'/'.join(results.folder.resolve().parts[-2:])}",
        _facts(results),
        [*_warnings(results), *problems],
        [*_left_out(results), *sections, *_notes(results)],
        [_entry(results, case_id, view) for case_id, view in views.items()],
        _order_in_words(results, len(chosen), len(order)),
    )


#: Views to draw, sections, and why there are no views.
_Parts = tuple[Mapping[str, ViewOf], Sequence[Section], Sequence[str]]


def _of_results(results: Results, chosen: Sequence[str]) -> _Parts:
    return result_views(results, chosen), result_sections(results), []


def _of_scores(results: Results, chosen: Sequence[str]) -> _Parts:
    first, *others = score_sections(results.scores)
    pairs: Mapping[str, CasePair] = {}
    problems = []
    try:
        if chosen:
            pairs = scored_pairs(results, {*chosen})
    except VolsegError as error:
        problems.append(f"no case is drawn: {error}")
    if pairs and not any(map(has_images, pairs.values())):
        problems.append("no case is drawn: the reference has label maps but no images")
    views = {} if problems else scored_views(pairs, chosen)
    agreement = agreement_sections(results)
    sections = [
        first,
        *protocol_sections(results.scores),
        *agreement,
        *calibration_section(results),
        *others,
    ]
    return views, sections, problems


def _order_in_words(results: Results, shown: int, total: int) -> str:
    first = "the lowest mean Dice" if results.scores else "those to look at"
    lines = "reference dashed, prediction solid" if results.scores else "prediction"
    which = cases_in_words(shown) if shown == total else f"{shown} of {total} cases"
    return f"{which}, {first} first. Outlines: {lines}."


def _entry(results: Results, case_id: str, view_of: ViewOf) -> CaseEntry:
    record = results.records.get(case_id, {})
    notes = case_notes(record)
    blocks: list[Block] = []
    if results.scores:
        case = results.scores["cases"][case_id]
        summary = case_summary(case)
        blocks += [case_table(case), *lesion_tables(results.scores, case_id)]
    else:
        summary = size_summary(record)
        blocks.append(size_table(record))
    blocks += confidence_blocks(record, notes)
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
        "Predictions": ", ".join(map(str, results.predictions)) if scores else "",
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
    of_scores = [*map(str, results.scores.get("doubts", ())), *_trained(results)]
    # Folders that were scored together, such as those of folds, have models of their own.
    cases = results.records.keys() if len(results.predictions) == 1 else ()
    mixed = half_written(results.manifest, cases) or mixed_origins(results.manifest, cases)
    return [*dict.fromkeys([*of_model, *of_scores]), *([mixed] if mixed else [])]


def _trained(results: Results) -> Iterator[str]:
    """Sentences on cases whose patients a model was trained on."""
    if results.scores:
        trained = results.scores.get(TRAINED_CASES, {})
        return doubts_of_training(trained, results.case_ids)
    return training_in_words(recorded_training(results.manifest, results.records), results.case_ids)


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
    protocols = results.scores.get("protocols", {})
    notes = [note for note in results.scores.get("notes", ()) if not _is_of(protocols, note)]
    return [Section("notes", "Notes", [Notes(notes)])] if notes else []


def _is_of(protocols: Mapping[str, Any], note: str) -> bool:
    """Whether a note, after names of protocols, is one of the notes of these protocols."""
    names, _, text = note.partition(": ")
    return all(text in protocols.get(name, {}).get("notes", ()) for name in names.split(", "))
