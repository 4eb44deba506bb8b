"""`volseg evaluate`: score predicted label maps against the experts', by case and region name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from volseg.errors import OutputError
from volseg.evaluation.pairs import notes_on_pairs, pair_up
from volseg.evaluation.predictions import find_predictions
from volseg.evaluation.records import (
    half_written,
    missing_channels,
    note_on_mixture,
    notes_on_origin,
    read_records,
)
from volseg.evaluation.references import find_references
from volseg.evaluation.samples import draw_scored_samples
from volseg.evaluation.schemes import prediction_scheme, reference_schemes
from volseg.evaluation.scoring import score_case
from volseg.files.paths import PathLike
from volseg.files.writing import SAMPLES_FILE, check_outputs, make_output
from volseg.metrics.doubts import doubts
from volseg.metrics.record import CASES_FILE, SCORE_FILES, SUMMARY_FILE, ScoreRecord
from volseg.metrics.slices import SliceTable
from volseg.metrics.table import ScoreTable
from volseg.progress import track
from volseg.runs.folder import is_held

_FILES = (*SCORE_FILES, SAMPLES_FILE)


@dataclass(frozen=True)
class EvaluateResult:
    """Scores and what has none.

    Attributes:
        record: Scores by case, slice and group; cases without scores have their rows too.
        output: Folder of the files.
        failures: `(case_id, reason)` of cases that could not be scored.
        without_reference: Predictions that no case of the reference goes with.
        notes: What a reader has to know: how the integers were read, and which means say little.
        files: Names of the files in `output`.
    """

    record: ScoreRecord
    output: Path
    failures: tuple[tuple[str, str], ...] = ()
    without_reference: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = (CASES_FILE, SUMMARY_FILE)

    @property
    def table(self) -> ScoreTable:
        """Scores of the cases."""
        return self.record.table

    @property
    def missing(self) -> tuple[str, ...]:
        """Cases of the reference without a prediction."""
        return self.table.cases("missing")


def evaluate(  # noqa: PLR0913  (an option each)
    predictions: PathLike,
    reference: PathLike,
    output: PathLike,
    labels: str | None = None,
    reference_labels: str | None = None,
    fold: int | None = None,
    data_root: Path | None = None,
    *,
    slices: bool = False,
) -> EvaluateResult:
    """Score the label maps of a folder and write `scores.csv`, `scores.json` and `samples.png`.

    Masks are compared by the name of their region, so the two sides may store labels in different
    conventions. A case that cannot be scored is named with its reason, and the others are
    scored. Slices are scored too where slices were segmented (`slices.csv`), and groups of cases
    where the data list has groups (`groups.csv`).

    Args:
        predictions: Folder of `<case_id>.nii.gz`, as `infer` writes it, or of `<case_id>-seg`; for
            slices, of folders `<case_id>` of masks called as the images, or of masks alone where a
            case is one slice.
        reference: Data list, folder of labelled cases in any known layout, or folder of label maps
            named as `predictions` may be.
        output: Folder to write to; made if missing.
        labels: Label scheme of the predictions; None: as `manifest.json` beside them says.
        reference_labels: Label scheme of a folder, or of the cases for which a data list names
            none; None: decided by names and values, as by `split`.
        fold: Only the cases of this fold of a data list.
        data_root: Folder that the paths of a data list start from; None: as the list says.
        slices: Score the slices of volumes too, along the third axis of their files.

    Raises:
        DataListError: If there is nothing to compare.
        LabelError: If the scheme of the predictions or of the reference is not known, a label map
            contradicts its scheme, or the two sides share no region.
        OutputError: If the predictions are not complete, or the scores cannot be written.
    """
    predictions, reference, output = Path(predictions), Path(reference), Path(output)
    _check_output(output)
    predicted = prediction_scheme(predictions, labels)
    references = find_references(reference, fold, data_root)
    cases = references.found.cases
    files, unknown = find_predictions(predictions, cases)
    without_reference = tuple(name for name in unknown if name not in references.not_asked_for)
    manifest = read_records(predictions)
    there = [case_id for case_id, prediction in files.items() if prediction.paths]
    if how := half_written(manifest, there):
        raise OutputError(f"{predictions} is not complete: {how}", remedy="call volseg infer again")
    schemes = reference_schemes(references, predicted, reference_labels)
    pairs = pair_up(references, files, predicted, schemes, slices=slices)
    # One after the other: threads were measured, and are not faster.
    scored = [score_case(pair) for pair in track(pairs, "scoring", len(pairs))]
    record = ScoreRecord(
        ScoreTable.of(row for of_case in scored for row in of_case.rows),
        SliceTable.of(row for of_case in scored for row in of_case.slices),
        {case.case_id: case.groups for case in cases},
        missing_channels(manifest, {case.case_id for case in cases}),
    )
    failures = [(of.case_id, of.failure) for of in scored if of.failure]
    failures += references.lost.items()
    notes = [
        *notes_on_pairs(pairs, record.table),
        *notes_on_origin(manifest, cases),
        *note_on_mixture(manifest, there),
    ]
    about = {
        "predictions": str(predictions),
        "prediction_labels": predicted.name,
        "reference": str(reference),
        "reference_labels": sorted({scheme.name for scheme in schemes.values()}),
        "failures": dict(failures),
        "predictions_without_reference": list(without_reference),
        "notes": notes,
    }
    make_output(output, _FILES)
    names = record.write(output, about)
    if draw_scored_samples(output / SAMPLES_FILE, record.table, pairs):
        names = (*names, SAMPLES_FILE)
    notes += doubts(record.table)
    return EvaluateResult(record, output, tuple(failures), without_reference, tuple(notes), names)


def _check_output(output: Path) -> None:
    """Refuse a folder in which scores would replace something else, with OutputError."""
    if is_held(output):
        raise OutputError(
            f"{output} holds a run, whose scores would be replaced",
            remedy="choose another with -o",
            path=output,
        )
    check_outputs(output, _FILES)
