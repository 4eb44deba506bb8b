"""`volseg evaluate`: score predicted label maps against reference label maps, by region."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from volseg.errors import OutputError
from volseg.evaluation.official import check_protocols, protocols_of
from volseg.evaluation.official_records import official_failures, protocol_record
from volseg.evaluation.pairs import notes_on_pairs, pair_up
from volseg.evaluation.predictions import find_predictions
from volseg.evaluation.processes import score_cases
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
from volseg.files.documents import read_json
from volseg.files.paths import PathLike
from volseg.files.writing import SAMPLES_FILE, check_outputs, make_output
from volseg.metrics.doubts import doubts
from volseg.metrics.protocol_record import PROTOCOL_FILES
from volseg.metrics.record import CASES_FILE, SCORE_FILES, SUMMARY_FILE, ScoreRecord
from volseg.metrics.slices import SliceTable
from volseg.metrics.table import ScoreTable
from volseg.runs.folder import is_held

_FILES = (*SCORE_FILES, *PROTOCOL_FILES, SAMPLES_FILE)


@dataclass(frozen=True)
class EvaluateResult:
    """Scores, and cases without scores.

    Attributes:
        record: Scores by case, slice and group; cases without scores have rows too.
        output: Folder of the files.
        failures: `(case_id, reason)` of cases that could not be scored.
        without_reference: Names of predictions without a case of the reference.
        notes: Notes for the reader, such as label schemes and means that mislead.
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
    protocols: Iterable[str] = (),
    workers: int | None = 1,
) -> EvaluateResult:
    """Score the label maps of a folder and write `scores.csv`, `scores.json` and `samples.png`.

    Masks are compared by region, so prediction and reference may use different label schemes. A
    case that cannot be scored is listed with its reason, and the other cases are scored. Slices of
    2D data are scored too (`slices.csv`), and groups of cases if the data list has groups
    (`groups.csv`).

    Args:
        predictions: Folder of `<case_id>.nii.gz`, as `infer` writes it, or of `<case_id>-seg`; for
            slices, of folders `<case_id>` of masks named like the images, or of masks alone if
            each case is one slice.
        reference: Data list, folder of labelled cases in any known layout, or folder of label maps
            named like the predictions.
        output: Folder for the scores; created if missing.
        labels: Label scheme of the predictions; None: from `manifest.json` in their folder.
        reference_labels: Label scheme of a folder, or of the cases without a scheme in the data
            list; None: decided by file names and values, as in `split`.
        fold: Fold of the data list to score; None: all cases.
        data_root: Folder that the paths of a data list start from; None: from the data list.
        slices: Whether to score the slices of volumes too, along the third axis of their files.
        protocols: Names of official protocols, such as `brats2023-gli`, whose scores are written
            beside ours: `scores_NAME.csv`, `lesions_NAME.csv` and an entry of `scores.json`.
        workers: Most processes that score cases at once; None: one a core, if there is enough
            work. They import the main module of the program, so a script that asks for several
            needs the guard `if __name__ == "__main__"`.

    Raises:
        ConfigError: If there is no protocol of a name, or no case has a known voxel size.
        DataListError: If there is nothing to compare.
        LabelError: If the label scheme of predictions or reference is not known, a label map
            contradicts its scheme, or the schemes share no region.
        OutputError: If a prediction is not finished, or the scores cannot be written.
    """
    predictions, reference, output = Path(predictions), Path(reference), Path(output)
    official = protocols_of(protocols)
    _check_output(output)
    predicted = prediction_scheme(predictions, labels)
    references = find_references(reference, fold, data_root)
    cases = references.found.cases
    files, unmatched = find_predictions(predictions, cases)
    without_reference = tuple(name for name in unmatched if name not in references.not_selected)
    manifest = read_records(predictions)
    there = [case_id for case_id, prediction in files.items() if prediction.paths]
    if how := half_written(manifest, there):
        raise OutputError(f"{predictions} is not complete: {how}", remedy="call volseg infer again")
    schemes = reference_schemes(references, predicted, reference_labels)
    names = tuple(protocol.name for protocol in official)
    pairs = pair_up(references, files, predicted, schemes, slices=slices, protocols=names)
    check_protocols(pairs, official)
    scored = score_cases(pairs, workers)
    record = ScoreRecord(
        ScoreTable.of(
            (row for of_case in scored for row in of_case.rows),
            patients={case.case_id: case.patient_id for case in cases},
        ),
        SliceTable.of(row for of_case in scored for row in of_case.slices),
        {case.case_id: case.groups for case in cases},
        missing_channels(manifest, {case.case_id for case in cases}),
        tuple(protocol_record(protocol, pairs, scored) for protocol in official),
    )
    failures = [(of.case_id, of.failure) for of in scored if of.failure]
    failures += references.unusable.items()
    notes = [
        *notes_on_pairs(pairs, record.table),
        *notes_on_origin(manifest, cases),
        *note_on_mixture(manifest, there),
        *(note for each in record.protocols for note in each.notes),
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
    replaced = _scores_replaced(output, predictions)
    make_output(output, _FILES)
    names = record.write(output, about)
    if draw_scored_samples(output / SAMPLES_FILE, record.table, pairs):
        names = (*names, SAMPLES_FILE)
    failures += official_failures(scored)
    notes += [*replaced, *doubts(record.table)]
    return EvaluateResult(record, output, tuple(failures), without_reference, tuple(notes), names)


def _check_output(output: Path) -> None:
    """Raise OutputError if the scores would replace other files in the folder."""
    if is_held(output):
        raise OutputError(
            f"{output} holds a run, whose scores would be replaced",
            remedy="choose another folder with -o",
            path=output,
        )
    check_outputs(output, _FILES)


def _scores_replaced(output: Path, predictions: Path) -> list[str]:
    """A note if the output holds scores of other predictions, which will be replaced."""
    if not (output / SUMMARY_FILE).exists():
        return []
    try:
        content = read_json(output / SUMMARY_FILE, OutputError)
    except OutputError:
        content = None
    earlier = content.get("predictions") if isinstance(content, dict) else None
    if not isinstance(earlier, str):
        return [f"replaced earlier scores in {output}"]
    other = Path(earlier).absolute() != predictions.absolute()
    return [f"replaced the scores of {earlier} in {output}"] if other else []
