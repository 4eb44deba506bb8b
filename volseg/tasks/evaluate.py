"""`volseg evaluate`: score predicted label maps against the experts', by case and region name."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.boxes import bounding_box
from volseg.datalist import Case, Finding, find_cases, read_data_list
from volseg.datalist.conventions import cases_in_words, group_cases, tell_schemes
from volseg.datalist.finding import DATA_LIST, check_list_is_not_needed
from volseg.datalist.names import LABEL, family_of, is_nifti, patient_of, read_name, stem
from volseg.errors import (
    ConfigError,
    DataListError,
    GeometryError,
    LabelError,
    VolsegError,
)
from volseg.files import make_folder
from volseg.labels import LABEL_SCHEMES, LabelScheme, get_scheme
from volseg.metrics.overlap import region_overlaps
from volseg.metrics.surface import hausdorff_95
from volseg.metrics.table import ScoreRow, ScoreTable, Status
from volseg.nifti import Grid, check_same_grid, read_label_map
from volseg.progress import track
from volseg.tasks.split import decisions_in_words, read_values

logger = logging.getLogger(__name__)

_NAMES_SHOWN = 3

# Files that may be the label map of a case: it is scored if there is one.
_Files = dict[str, list[Path]]


@dataclass(frozen=True)
class EvaluateResult:
    """Scores and what has none.

    Attributes:
        table: A row per case and region, unscored cases included.
        output: Folder of `scores.csv` and `scores.json`.
        failures: `(case_id, reason)` of cases that could not be scored.
        missing: Cases of the reference without a prediction.
        without_reference: Predictions that no case of the reference goes with.
    """

    table: ScoreTable
    output: Path
    failures: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    without_reference: tuple[str, ...] = ()


@dataclass(frozen=True)
class _References:
    """Labelled cases of the reference, and the files that may be their label maps."""

    found: Finding
    files: _Files


@dataclass(frozen=True)
class _Comparison:
    """A case to score: its two label maps, what their integers mean, why it cannot be scored."""

    case_id: str
    prediction: Path | None
    reference: Path
    predicted: LabelScheme
    expected: LabelScheme
    problem: str | None

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions that both schemes know."""
        return tuple(name for name in self.expected.regions if name in self.predicted.regions)


def evaluate(
    predictions: Path,
    reference: Path,
    output: Path,
    labels: str | None = None,
    reference_labels: str | None = None,
    fold: int | None = None,
    data_root: Path | None = None,
) -> EvaluateResult:
    """Score the label maps of a folder and write `scores.csv` and `scores.json`.

    Masks are compared by the name of their region, so the two sides may store labels in different
    conventions. A case that cannot be scored is named with its reason and the others go on.

    Args:
        predictions: Folder of `<case_id>.nii.gz`, as `infer` writes it, or of `<case_id>-seg`.
        reference: Data list, folder of labelled cases in any known layout, or folder of label maps
            named as `predictions` may be.
        output: Folder to write to; made if missing.
        labels: Label scheme of the predictions; None: as `manifest.json` beside them says.
        reference_labels: Label scheme of a folder, or of the cases for which a data list names
            none; None: told by names and values, as `split` tells it.
        fold: Only the cases of this fold of a data list.
        data_root: Folder that the paths of a data list start from; None: as the list says.

    Raises:
        DataListError: If there is nothing to compare.
        LabelError: If the scheme of the predictions or of the reference is not known, or they share
            no region.
        OutputError: If the scores cannot be written.
    """
    predicted = _prediction_scheme(predictions, labels)
    references = _references(reference, fold, data_root)
    files, without_reference = _match(predictions, references.files)
    expected = _reference_schemes(reference, references.found, predicted, reference_labels)
    comparisons = [
        _compare(case.case_id, references.files, files, predicted, expected[case.case_id])
        for case in references.found.cases
    ]
    _check_regions(comparisons)
    # One after the other: threads were measured, and are not faster.
    scored = [_score(one) for one in track(comparisons, "scoring", len(comparisons))]
    table = ScoreTable.of(row for rows, _ in scored for row in rows)
    failures = tuple(
        (comparison.case_id, reason)
        for comparison, (_, reason) in zip(comparisons, scored, strict=True)
        if reason
    )
    about = {
        "predictions": str(predictions),
        "prediction_labels": predicted.name,
        "reference": str(reference),
        "reference_labels": sorted({comparison.expected.name for comparison in comparisons}),
        "failures": dict(failures),
        "predictions_without_reference": list(without_reference),
    }
    _write(table, output, about)
    return EvaluateResult(table, output, failures, table.cases("missing"), without_reference)


def _prediction_scheme(predictions: Path, labels: str | None) -> LabelScheme:
    if not predictions.is_dir():
        raise DataListError(f"{predictions} is not a folder; give the folder of the predictions")
    if labels:
        return _named_scheme(predictions, labels)
    return _manifest_scheme(predictions)


def _named_scheme(predictions: Path, labels: str) -> LabelScheme:
    """The scheme `labels`, unless the manifest beside the predictions says another."""
    named = get_scheme(labels)
    try:
        written = _manifest_scheme(predictions)
    except LabelError:
        return named
    if written.labels != named.labels:
        raise LabelError(
            f"the manifest.json of {predictions} says label scheme {written.name!r}, but labels "
            f"says {labels!r}; leave labels out"
        )
    return named


def _manifest_scheme(predictions: Path) -> LabelScheme:
    """The scheme that `infer` noted beside its results; LabelError if there is none."""
    try:
        manifest = json.loads((predictions / "manifest.json").read_text(encoding="utf-8"))
        written = manifest["labels"]
        if isinstance(written, str):
            return get_scheme(written)
        values = {int(value): name for value, name in written["labels"].items()}
        return LabelScheme(written["name"], values, written["regions"])
    except FileNotFoundError:
        reason = "it has no manifest.json"
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ConfigError) as error:
        reason = f"its manifest.json tells none: {error}"
    raise LabelError(
        f"the label scheme of {predictions} is not known ({reason}); name it with labels, one of "
        f"{', '.join(LABEL_SCHEMES)}"
    )


def _references(reference: Path, fold: int | None, data_root: Path | None) -> _References:
    if reference.is_file():
        cases = [c for c in read_data_list(reference, data_root).cases(fold) if c.label]
        found = Finding.of(cases, (), dict.fromkeys((c.case_id for c in cases), DATA_LIST))
        references = _References(found, {c.case_id: [c.label] for c in cases if c.label})
    else:
        check_list_is_not_needed(reference, fold, data_root)
        if not reference.is_dir():
            raise DataListError(f"{reference} does not exist; give a data list or a folder")
        references = _labelled_in_folder(reference)
    if not references.files:
        raise DataListError(f"{reference} has no case with a label map; nothing can be scored")
    return references


def _labelled_in_folder(folder: Path) -> _References:
    try:
        found = find_cases([folder])
    except DataListError:
        found = Finding.of((), (), {})
    cases = {case.case_id: case for case in found.cases if case.label}
    # Scoring needs no images: label maps beside missing or incomplete images count as well.
    files = [path for path in _nifti_files(folder) if LABEL in read_name(path.name, ())[1]]
    if not (cases or files):
        files = [path for path in _nifti_files(folder) if path.parent == folder]
    labels = {case.case_id: [case.label] for case in cases.values() if case.label}
    known = {path.resolve() for paths in labels.values() for path in paths}
    for path in files:
        if path.resolve() not in known:
            labels.setdefault(_case_id(path), []).append(path)
    layout_of = dict(found.layout_of)
    for case_id in labels.keys() - cases.keys():
        layout_of.setdefault(case_id, family_of(case_id, ()))
        cases[case_id] = Case(case_id, patient_of(case_id), (), (), labels[case_id][0])
    return _References(Finding.of(cases.values(), (), layout_of), labels)


def _reference_schemes(
    reference: Path, found: Finding, predicted: LabelScheme, asked: str | None
) -> dict[str, LabelScheme]:
    """Label scheme of each case of the reference: as its list says, as asked for, or as told."""
    remedy = f"say it with --reference-labels NAME (the predictions are in {predicted.name})"
    in_list = reference.is_file()
    names = {case.case_id: case.labels for case in found.cases if case.labels and in_list}
    open_cases = [case for case in found.cases if case.case_id not in names]
    if asked:
        names |= dict.fromkeys((case.case_id for case in open_cases), asked)
    elif open_cases and in_list:
        raise LabelError(
            f"{reference} leaves to a config what the label maps of "
            f"{cases_in_words(len(open_cases))} mean; {remedy}"
        )
    elif open_cases:
        read = read_values(open_cases)
        # What cannot be read says nothing here; its case fails when it is to be scored.
        values = {name: frozenset() if isinstance(v, str) else v for name, v in read.items()}
        groups = group_cases(open_cases, values, found.layout_of)
        names |= tell_schemes(groups, remedy)
        for decision in decisions_in_words(groups, names):
            logger.info("reference: %s", decision)
    # A scheme written into a config is known by the name that the predictions bear.
    own = {predicted.name: predicted} if predicted.name not in LABEL_SCHEMES else {}
    return {case_id: own.get(name) or get_scheme(name) for case_id, name in names.items()}


def _compare(
    case_id: str, references: _Files, files: _Files, predicted: LabelScheme, expected: LabelScheme
) -> _Comparison:
    sides = (references[case_id], files.get(case_id, []))
    doubled = [
        f"{paths[0]} and {paths[1]} are of one case; keep one" for paths in sides if paths[1:]
    ]
    prediction = sides[1][0] if sides[1] else None
    problem = "; ".join(doubled) or None
    return _Comparison(case_id, prediction, sides[0][0], predicted, expected, problem)


def _match(predictions: Path, case_ids: Collection[str]) -> tuple[_Files, tuple[str, ...]]:
    """Predictions of each case that has some, and the names of predictions of no such case."""
    named: _Files = {}
    for path in _nifti_files(predictions):
        named.setdefault(_case_id(path), []).append(path)
    files = {}
    for case_id in named.keys() & set(case_ids):
        # A map of probabilities may end like a label map: <case_id>_GTV beside <case_id>.
        paths = named[case_id]
        files[case_id] = [path for path in paths if stem(path.name) == case_id] or paths
    others = sorted(named.keys() - set(case_ids))
    known = {*case_ids, *named}
    strangers = tuple(name for name in others if not _belongs_to_one_of(known, name))
    if not files:
        raise DataListError(
            f"no file in {predictions} bears the name of a case of the reference: found "
            f"{_some(strangers) or 'no .nii.gz'}, expected {_some(case_ids)}; "
            "name predictions <case_id>.nii.gz"
        )
    return files, strangers


def _belongs_to_one_of(case_ids: Collection[str], name: str) -> bool:
    """Whether a file is a scan or a map of probabilities of a case: `<case_id>_WT`."""
    return any(name[: cut.start()] in case_ids for cut in re.finditer("[-_]", name))


def _nifti_files(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if is_nifti(path.name))
    return sorted(path for path in files if not path.name.startswith("."))


def _case_id(path: Path) -> str:
    """Case of a label map called `<case_id>`, `<case_id>-seg`, or `seg` in the folder of a case."""
    case_id, content = read_name(path.name, ())
    return (case_id or path.parent.name) if LABEL in content else stem(path.name)


def _some(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:_NAMES_SHOWN])
    return f"{shown}, ... ({len(names)})" if len(names) > _NAMES_SHOWN else shown


def _check_regions(comparisons: Iterable[_Comparison]) -> None:
    """Refuse schemes without a common region, and tell which regions have no counterpart."""
    for comparison in {c.expected.name: c for c in comparisons}.values():
        predicted, expected = comparison.predicted, comparison.expected
        sides = (
            f"predictions ({predicted.name}) have {' '.join(predicted.regions)}, "
            f"the reference ({expected.name}) has {' '.join(expected.regions)}"
        )
        if not comparison.regions:
            raise LabelError(f"no region in common: {sides}; name the label schemes of both")
        if predicted.regions.keys() ^ expected.regions.keys():
            logger.warning("only %s are scored: %s", " ".join(comparison.regions), sides)


def _score(comparison: _Comparison) -> tuple[list[ScoreRow], str | None]:
    if comparison.problem:
        return _unscored(comparison, "failed"), comparison.problem
    if comparison.prediction is None:
        return _unscored(comparison, "missing"), None
    try:
        return _scored(comparison, comparison.prediction), None
    except VolsegError as error:
        return _unscored(comparison, "failed"), str(error)


def _unscored(comparison: _Comparison, status: Status) -> list[ScoreRow]:
    return [ScoreRow(comparison.case_id, name, status=status) for name in comparison.regions]


def _scored(comparison: _Comparison, path: Path) -> list[ScoreRow]:
    prediction, grid = read_label_map(path)
    reference, reference_grid = read_label_map(comparison.reference)
    _check_grids(comparison.case_id, reference_grid, grid)
    # Outside the box both hold background alone, and a tumour fills a small part of a head.
    box = bounding_box((prediction | reference) > 0)
    regions = comparison.regions
    predicted = _masks(prediction[box], comparison.predicted, regions, f"prediction {path}")
    expected = _masks(
        reference[box], comparison.expected, regions, f"reference {comparison.reference}"
    )
    overlaps = region_overlaps(predicted, expected, regions)
    return [
        ScoreRow.of(
            comparison.case_id,
            region,
            overlaps[region],
            grid.voxel_ml,
            hausdorff_95(one, other, grid.spacing_mm),
        )
        for region, one, other in zip(regions, predicted, expected, strict=True)
    ]


def _check_grids(case_id: str, reference: Grid, prediction: Grid) -> None:
    try:
        notes = check_same_grid({"reference": reference, "prediction": prediction})
    except GeometryError as error:
        problem, _, _ = str(error).rpartition("; ")
        raise GeometryError(
            f"{problem}; resample the prediction to the grid of the reference"
        ) from None
    for note in notes:
        logger.info("%s: %s", case_id, note)


def _masks(
    label_map: npt.NDArray[np.uint8], scheme: LabelScheme, regions: Sequence[str], where: str
) -> npt.NDArray[np.bool_]:
    """Masks (R, *shape) of `regions`, in that order."""
    scheme.check(np.unique(label_map), where)
    masks = dict(zip(scheme.regions, scheme.masks(label_map), strict=True))
    return np.stack([masks[region] for region in regions])


def _write(table: ScoreTable, output: Path, about: Mapping[str, Any]) -> None:
    make_folder(output, "choose another with -o")
    table.to_csv(output / "scores.csv")
    table.to_json(output / "scores.json", about)
