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

from volseg.datalist import Case, find_cases, read_data_list
from volseg.datalist.names import LABEL, is_nifti, read_name, stem
from volseg.errors import (
    ConfigError,
    DataListError,
    GeometryError,
    LabelError,
    OutputError,
    VolsegError,
)
from volseg.labels import LABEL_SCHEMES, LabelScheme, get_scheme
from volseg.metrics.overlap import bounding_box, region_overlaps
from volseg.metrics.surface import hausdorff_95
from volseg.metrics.table import ScoreRow, ScoreTable, Status
from volseg.nifti import Grid, check_same_grid, read_label_map
from volseg.progress import track

logger = logging.getLogger(__name__)

_NAMES_SHOWN = 3


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
class _Comparison:
    """A case to score: its two label maps and what their integers mean."""

    case_id: str
    prediction: Path | None
    reference: Path
    predicted: LabelScheme
    expected: LabelScheme

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
        reference_labels: Label scheme of the cases for which the data list names none; None: that
            of the predictions.
        fold: Only the cases of this fold of a data list.

    Raises:
        DataListError: If there is nothing to compare.
        LabelError: If the scheme of the predictions is not known, or shares no region with that of
            the reference.
        OutputError: If the scores cannot be written.
    """
    predicted = _prediction_scheme(predictions, labels)
    fallback = get_scheme(reference_labels) if reference_labels else predicted
    cases = _reference_cases(reference, fold)
    files, without_reference = _match(predictions, cases)
    comparisons = [
        _Comparison(
            case_id, files.get(case_id), path, predicted, get_scheme(name) if name else fallback
        )
        for case_id, (path, name) in sorted(cases.items())
    ]
    if not (reference_labels or all(name for _, name in cases.values())):
        logger.info("the reference is read in scheme %s, as the predictions are", fallback.name)
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
        return get_scheme(labels)
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


def _reference_cases(reference: Path, fold: int | None) -> dict[str, tuple[Path, str | None]]:
    """Label map of each case of the reference, and the name of its scheme where that is known."""
    if reference.is_file():
        found = _labelled(read_data_list(reference).cases(fold))
    elif fold is not None:
        raise DataListError(f"{reference} is no data list and has no fold {fold}; give its list")
    elif reference.is_dir():
        found = _labelled_in_folder(reference)
    else:
        raise DataListError(f"{reference} does not exist; give a data list or a folder")
    if not found:
        raise DataListError(f"{reference} has no case with a label map; nothing can be scored")
    return found


def _labelled(cases: Iterable[Case]) -> dict[str, tuple[Path, str | None]]:
    return {case.case_id: (case.label, case.labels) for case in cases if case.label is not None}


def _labelled_in_folder(folder: Path) -> dict[str, tuple[Path, str | None]]:
    try:
        found = _labelled(find_cases([folder]).cases)
    except DataListError:
        found = {}
    # Scoring needs no images: label maps beside missing or incomplete images count as well.
    files = [path for path in _nifti_files(folder) if LABEL in read_name(path.name, ())[1]]
    if not (found or files):
        files = [path for path in _nifti_files(folder) if path.parent == folder]
    known = {path.resolve() for path, _ in found.values()}
    alone: dict[str, tuple[Path, str | None]] = {}
    for path in files:
        case_id = _case_id(path)
        if case_id in found or path.resolve() in known:
            continue
        if case_id in alone:
            raise DataListError(f"{alone[case_id][0]} and {path} are of one case; keep one")
        alone[case_id] = (path, None)
    return found | alone


def _match(predictions: Path, case_ids: Collection[str]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The prediction of each case that has one, and the names of predictions of no such case."""
    named: dict[str, list[Path]] = {}
    for path in _nifti_files(predictions):
        named.setdefault(_case_id(path), []).append(path)
    files = {}
    for case_id in named.keys() & case_ids:
        # A map of probabilities may end like a label map: <case_id>_GTV beside <case_id>.
        paths = [path for path in named[case_id] if stem(path.name) == case_id] or named[case_id]
        if len(paths) > 1:
            raise DataListError(f"{paths[0]} and {paths[1]} are of one case; keep one")
        files[case_id] = paths[0]
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
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{output} cannot be made ({error.strerror}); choose another folder"
        ) from None
    table.to_csv(output / "scores.csv")
    table.to_json(output / "scores.json", about)
