"""`volseg evaluate`: score predicted label maps against the experts', by case and region name."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from volseg.cases.case import Case
from volseg.errors import LabelError, OutputError
from volseg.evaluation.pictures import draw_scored_samples
from volseg.evaluation.predictions import (
    Predicted,
    find_predictions,
    half_written,
    made_of_others,
    missing_channels,
    not_alike,
    noted_of,
    prediction_scheme,
)
from volseg.evaluation.references import References, find_references, reference_schemes
from volseg.evaluation.scoring import CaseScores, Comparison, score_case
from volseg.files.writing import SAMPLES_FILE, check_outputs, make_output
from volseg.labels import LabelScheme
from volseg.metrics.doubts import doubts
from volseg.metrics.groups import GroupTable
from volseg.metrics.record import CASES_FILE, SCORE_FILES, SUMMARY_FILE, ScoreRecord
from volseg.metrics.slices import SliceTable
from volseg.metrics.table import ScoreTable
from volseg.progress import track
from volseg.runs.folder import is_held

logger = logging.getLogger(__name__)

_FILES = (*SCORE_FILES, SAMPLES_FILE)


@dataclass(frozen=True)
class EvaluateResult:
    """Scores and what has none.

    Attributes:
        table: A row per case and region, unscored cases included.
        output: Folder of `scores.csv` and `scores.json`.
        failures: `(case_id, reason)` of cases that could not be scored.
        missing: Cases of the reference without a prediction.
        without_reference: Predictions that no case of the reference goes with.
        slices: A row per slice of each stack, or of each case if so asked.
        by_group: Scores by what the data list tells of the cases, and by missing channels.
        missing_channels: Channels that a case lacks; only cases that lack one.
        notes: What a reader has to know: how the integers were read, and which means say little.
        files: Names of the files in `output`.
    """

    table: ScoreTable
    output: Path
    failures: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    without_reference: tuple[str, ...] = ()
    slices: SliceTable = field(default_factory=SliceTable)
    by_group: GroupTable = field(default_factory=GroupTable)
    missing_channels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = (CASES_FILE, SUMMARY_FILE)


def evaluate(  # noqa: PLR0913  (an option each)
    predictions: Path,
    reference: Path,
    output: Path,
    labels: str | None = None,
    reference_labels: str | None = None,
    fold: int | None = None,
    data_root: Path | None = None,
    *,
    slices: bool = False,
) -> EvaluateResult:
    """Score the label maps of a folder and write `scores.csv`, `scores.json` and `samples.png`.

    Masks are compared by the name of their region, so the two sides may store labels in different
    conventions. A case that cannot be scored is named with its reason and the others go on. Slices
    are scored too where they are what was segmented (`slices.csv`), and groups of cases where the
    data list tells them (`groups.csv`).

    Args:
        predictions: Folder of `<case_id>.nii.gz`, as `infer` writes it, or of `<case_id>-seg`; for
            slices, of folders `<case_id>` of masks called as the images, or of masks alone where a
            case is one slice.
        reference: Data list, folder of labelled cases in any known layout, or folder of label maps
            named as `predictions` may be.
        output: Folder to write to; made if missing.
        labels: Label scheme of the predictions; None: as `manifest.json` beside them says.
        reference_labels: Label scheme of a folder, or of the cases for which a data list names
            none; None: told by names and values, as `split` tells it.
        fold: Only the cases of this fold of a data list.
        data_root: Folder that the paths of a data list start from; None: as the list says.
        slices: Score the slices of volumes too, along the third axis of their files.

    Raises:
        DataListError: If there is nothing to compare.
        LabelError: If the scheme of the predictions or of the reference is not known, a label map
    X
    """
    _check_output(output)
    predicted = prediction_scheme(predictions, labels)
    references = find_references(reference, fold, data_root)
    cases = references.found.cases
    files, unknown = find_predictions(predictions, cases)
    without_reference = tuple(name for name in unknown if name not in references.not_asked_for)
    noted = noted_of(predictions)
    there = [case_id for case_id, prediction in files.items() if prediction.paths]
    if how := half_written(noted, there):
        raise OutputError(f"{predictions} is not complete: {how}", remedy="call volseg infer again")
    expected = reference_schemes(reference, references.found, predicted, reference_labels)
    comparisons = _compare(references, files, predicted, expected, slices)
    _check_regions(comparisons)
    # One after the other: threads were measured, and are not faster.
    scored = [score_case(one) for one in track(comparisons, "scoring", len(comparisons))]
    records = noted.get("cases", {})
    record = _record(records, cases, scored)
    failures = tuple(
        (case.case_id, of_case.failure)
        for case, of_case in zip(cases, scored, strict=True)
        if of_case.failure
    )
    failures += tuple(references.lost.items())
    notes = [
        *_notes(comparisons, record.table),
        *made_of_others(records, cases),
        *_note_on_models(noted, there),
    ]
    about = {
        "predictions": str(predictions),
        "prediction_labels": predicted.name,
        "reference": str(reference),
        "reference_labels": sorted({scheme.name for scheme in expected.values()}),
        "failures": dict(failures),
        "predictions_without_reference": list(without_reference),
        "notes": notes,
    }
    make_output(output, _FILES)
    files_written = record.write(output, about)
    draw_scored_samples(output / SAMPLES_FILE, record.table, comparisons)
    if (output / SAMPLES_FILE).is_file():
        files_written = (*files_written, SAMPLES_FILE)
    return EvaluateResult(
        record.table,
        output,
        failures,
        record.table.cases("missing"),
        without_reference,
        record.slices,
        record.by_group,
        record.missing_channels,
        (*notes, *doubts(record.table)),
        files_written,
    )


def _notes(comparisons: Sequence[Comparison], table: ScoreTable) -> Iterator[str]:
    """How the integers of both sides were read, and whether the sides are one and the same."""
    expected = {str(comparison.expected): None for comparison in comparisons}
    yield (
        f"labels of the predictions: {comparisons[0].predicted}; of the reference: "
        f"{', '.join(expected)}"
    )
    there = [row["dice"] for row in table.rows if row["reference_voxels"]]
    if there and min(dice or 0.0 for dice in there) == 1:
        yield (
            "every prediction equals its reference voxel by voxel; if they should be of two "
            "origins, one was copied from the other"
        )


def _note_on_models(noted: Mapping[str, Any], there: Collection[str]) -> Iterator[str]:
    """Whether one mean is over predictions of several models, as of the folds of a training."""
    if how := not_alike(noted, there):
        yield (
            f"predictions of several models or options have one mean: {how}; where they are not "
            "those of different folds, let volseg infer --overwrite run to its end"
        )


def _check_output(output: Path) -> None:
    """Refuse a folder in which scores would replace something else, with OutputError."""
    if is_held(output):
        raise OutputError(
            f"{output} holds a run, whose scores would be replaced",
            remedy="choose another with -o",
            path=output,
        )
    check_outputs(output, _FILES)


def _record(
    records: Mapping[str, Any], cases: Sequence[Case], scored: Sequence[CaseScores]
) -> ScoreRecord:
    return ScoreRecord(
        ScoreTable.of(row for of_case in scored for row in of_case.rows),
        SliceTable.of(row for of_case in scored for row in of_case.slices),
        {case.case_id: case.groups for case in cases},
        missing_channels(records, {case.case_id for case in cases}),
    )


def _compare(
    references: References,
    files: Mapping[str, Predicted],
    predicted: LabelScheme,
    expected: Mapping[str, LabelScheme],
    slices: bool,
) -> list[Comparison]:
    comparisons = []
    for case in references.found.cases:
        prediction = files.get(case.case_id, Predicted())
        problems = [references.problems.get(case.case_id), prediction.problem]
        comparisons.append(
            Comparison(
                case,
                prediction.paths,
                predicted,
                expected[case.case_id],
                "; ".join(problem for problem in problems if problem) or None,
                slices or bool(case.slices),
            )
        )
    return comparisons


def _check_regions(comparisons: Iterable[Comparison]) -> None:
    """Refuse schemes without a common region, and tell which regions have no counterpart."""
    for comparison in {c.expected.name: c for c in comparisons}.values():
        predicted, expected = comparison.predicted, comparison.expected
        sides = (
            f"predictions ({predicted.name}) have {' '.join(predicted.regions)}, "
            f"the reference ({expected.name}) has {' '.join(expected.regions)}"
        )
        if not comparison.regions:
            raise LabelError(
                f"no region in common: {sides}", remedy="name the label schemes of both"
            )
        if predicted.regions.keys() ^ expected.regions.keys():
            logger.warning("only %s are scored: %s", " ".join(comparison.regions), sides)
