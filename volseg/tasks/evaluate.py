"""`volseg evaluate`: score predicted label maps against reference label maps, by region."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from volseg.errors import OutputError
from volseg.evaluation.calibration import draw_calibration, note_on_temperatures
from volseg.evaluation.dice_agreement import DiceAgreement
from volseg.evaluation.official import check_protocols, protocols_of
from volseg.evaluation.official_records import (
    notes_in_words,
    official_failures,
    protocol_record,
)
from volseg.evaluation.pairs import CasePair, notes_on_pairs, pair_up
from volseg.evaluation.pooling import Predictions, common_scheme
from volseg.evaluation.processes import score_cases
from volseg.evaluation.records import recorded_channels
from volseg.evaluation.references import find_references
from volseg.evaluation.samples import draw_scored_samples
from volseg.evaluation.schemes import reference_schemes
from volseg.evaluation.scoring import CaseScores
from volseg.files.documents import read_json
from volseg.files.paths import PathLike, places, recorded_path
from volseg.files.writing import CALIBRATION_PICTURE, SAMPLES_FILE, check_outputs, make_output
from volseg.metrics.calibration_table import CALIBRATION_FILE, CalibrationTable
from volseg.metrics.doubts import doubts
from volseg.metrics.official.protocol import Protocol
from volseg.metrics.official.record import PROTOCOL_FILES
from volseg.metrics.record import CASES_FILE, SCORE_FILES, SUMMARY_FILE, ScoreRecord
from volseg.metrics.slices import SliceTable
from volseg.metrics.table import ScoreTable
from volseg.results.trained_cases import doubts_of_training
from volseg.runs.folder import is_held

_FILES = (*SCORE_FILES, *PROTOCOL_FILES, SAMPLES_FILE, CALIBRATION_FILE, CALIBRATION_PICTURE)


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
        predicted_dice: Agreement of the Dice that `infer` predicted with the true Dice.
    """

    record: ScoreRecord
    output: Path
    failures: tuple[tuple[str, str], ...] = ()
    without_reference: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = (CASES_FILE, SUMMARY_FILE)
    predicted_dice: DiceAgreement = field(default_factory=DiceAgreement)

    @property
    def table(self) -> ScoreTable:
        """Scores of the cases."""
        return self.record.table

    @property
    def missing(self) -> tuple[str, ...]:
        """Cases of the reference without a prediction."""
        return self.table.cases("missing")


def evaluate(  # noqa: PLR0913  (an option each)
    predictions: PathLike | Sequence[PathLike],
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
    """Score label maps and write `scores.csv`, `scores.json` and `samples.png`.

    Where `infer --probabilities` wrote maps, their calibration is measured too (`calibration.csv`,
    `calibration.png`).

    Masks are compared by region, so prediction and reference may use different label schemes. A
    case that cannot be scored is listed with its reason, and the other cases are scored. Slices of
    2D data are scored too (`slices.csv`), and groups of cases if the data list has groups
    (`groups.csv`).

    Args:
        predictions: Folder of `<case_id>.nii.gz`, as `infer` writes it, or of `<case_id>-seg`; for
            slices, of folders `<case_id>` of masks named like the images, or of masks alone if
            each case is one slice. Several folders, such as one for each fold of a
            cross-validation, are scored together; each case is in one of them.
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
    paths = [Path(path) for path in _several(predictions)]
    reference, output = Path(reference), Path(output)
    official = protocols_of(protocols)
    _check_output(output)
    predicted = common_scheme(paths, labels)
    references = find_references(reference, fold, data_root, recorded_channels(paths))
    cases = references.found.cases
    given = Predictions.read(paths, cases)
    without_reference = tuple(n for n in given.unmatched if n not in references.not_selected)
    schemes = reference_schemes(references, predicted, reference_labels)
    names = tuple(protocol.name for protocol in official)
    pairs = pair_up(
        *(references, given.found, predicted, schemes),
        slices=slices,
        protocols=names,
        maps=given.maps,
    )
    check_protocols(pairs, official)
    scored = score_cases(pairs, workers)
    record = _record(pairs, scored, official, given.missing_channels)
    failures = [(of.case_id, of.failure) for of in scored if of.failure]
    failures += references.unusable.items()
    notes = [
        *notes_on_pairs(pairs, record.table),
        *given.notes(),
        *notes_in_words(record.protocols),
        *note_on_temperatures(record.calibration),
    ]
    agreement = DiceAgreement.of(record.table, given.folders)
    about = {
        **given.to_dict(),
        "prediction_labels": predicted.name,
        "reference": str(reference),
        **({"data_root": str(data_root)} if data_root else {}),
        "reference_labels": sorted({scheme.name for scheme in schemes.values()}),
        "failures": dict(failures),
        "predictions_without_reference": list(without_reference),
        "notes": notes,
        **({"predicted_dice": agreement.to_dict()} if agreement.regions else {}),
        **places(output),
    }
    replaced = _scores_replaced(output, paths)
    make_output(output, _FILES)
    earlier = [name for name in _FILES if (output / name).exists()]
    files = record.write(output, about)
    if draw_scored_samples(output / SAMPLES_FILE, record.table, pairs):
        files = (*files, SAMPLES_FILE)
    if draw_calibration(output / CALIBRATION_PICTURE, record.calibration):
        files = (*files, CALIBRATION_PICTURE)
    failures += official_failures(scored)
    trained = doubts_of_training(given.trained_cases, record.table.cases("scored"))
    notes += [*replaced, *_removed(output, earlier), *trained, *doubts(record.table)]
    return EvaluateResult(
        *(record, output, tuple(failures), without_reference, tuple(notes), files, agreement)
    )


def _record(
    pairs: Sequence[CasePair],
    scored: Sequence[CaseScores],
    protocols: Sequence[Protocol],
    missing_channels: Mapping[str, Sequence[str]],
) -> ScoreRecord:
    cases = [pair.case for pair in pairs]
    return ScoreRecord(
        ScoreTable.of(
            (row for of_case in scored for row in of_case.rows),
            patients={case.case_id: case.patient_id for case in cases},
        ),
        SliceTable.of(row for of_case in scored for row in of_case.slices),
        {case.case_id: case.groups for case in cases},
        missing_channels,
        tuple(protocol_record(protocol, pairs, scored) for protocol in protocols),
        CalibrationTable.of(
            (of.case_id, of.calibration) for of in scored if of.calibration is not None
        ),
    )


def _check_output(output: Path) -> None:
    """Raise OutputError if the scores would replace other files in the folder."""
    if is_held(output):
        raise OutputError(
            f"{output} holds a run, whose scores would be replaced",
            remedy="choose another folder with -o",
            path=output,
        )
    check_outputs(output, _FILES)


def _several(predictions: PathLike | Sequence[PathLike]) -> Sequence[PathLike]:
    return [predictions] if isinstance(predictions, str | os.PathLike) else predictions


def _removed(output: Path, earlier: Sequence[str]) -> list[str]:
    """A note on files of earlier scores that do not apply to these and were removed."""
    gone = [name for name in earlier if not (output / name).exists()]
    return [f"removed {', '.join(gone)} of earlier scores in {output}"] if gone else []


def _scores_replaced(output: Path, predictions: Sequence[Path]) -> list[str]:
    """A note if the output holds scores of other predictions, which will be replaced."""
    if not (output / SUMMARY_FILE).exists():
        return []
    try:
        content = read_json(output / SUMMARY_FILE, OutputError)
    except OutputError:
        content = None
    named = content.get("predictions") if isinstance(content, dict) else None
    earlier = [path for path in (named if isinstance(named, list) else [named]) if path]
    if not earlier:
        return [f"replaced earlier scores in {output}"]
    scored = [recorded_path(str(path), content, output).absolute() for path in earlier]
    if scored == [path.absolute() for path in predictions]:
        return []
    return [f"replaced the scores of {', '.join(map(str, earlier))} in {output}"]
