"""Views of the cases of a report, read from the files that its results record."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from volseg.cases.case import Case
from volseg.cases.identity import patient_of
from volseg.cases.slice_stack_case import SliceStackCase
from volseg.cases.volume_case import VolumeCase
from volseg.errors import DataListError, LabelError, VolsegError
from volseg.evaluation.pairs import CasePair, pair_up
from volseg.evaluation.pooling import Predictions, common_scheme
from volseg.evaluation.records import recorded_channels
from volseg.evaluation.references import find_references
from volseg.evaluation.samples import pair_view
from volseg.evaluation.schemes import prediction_scheme, reference_schemes
from volseg.figures.case_view import CaseView
from volseg.figures.image_views import view_of_images
from volseg.files.paths import recorded_path
from volseg.finding.finding import Finding
from volseg.labels import LabelScheme
from volseg.model_header import read_model_header
from volseg.reporting.results import Results

ViewOf = Callable[[], CaseView]


def result_views(results: Results, case_ids: Collection[str]) -> dict[str, ViewOf]:
    """Functions that read the view of each of these cases, without a reference."""
    return {case_id: partial(_result_view, results, case_id) for case_id in case_ids}


def scored_views(pairs: Mapping[str, CasePair], case_ids: Collection[str]) -> dict[str, ViewOf]:
    """Functions that read the view of each of these cases, with prediction and reference."""
    return {case_id: partial(_scored_view, pairs.get(case_id), case_id) for case_id in case_ids}


def scored_pairs(results: Results, case_ids: Collection[str]) -> dict[str, CasePair]:
    """Prediction and reference of each of these cases, as `evaluate` found them.

    Raises:
        VolsegError: If their files are gone or not recorded.
    """
    scores = results.scores
    if not results.predictions or not isinstance(scores.get("reference"), str):
        raise DataListError(
            "the scores do not record predictions and reference",
            remedy="score the predictions with volseg evaluate",
        )
    root = scores.get("data_root")
    predicted = _prediction_scheme(results)
    references = find_references(
        recorded_path(scores["reference"], scores, results.folder),
        None,
        recorded_path(root, scores, results.folder) if root else None,
        recorded_channels(results.predictions),
    )
    given = Predictions.read(results.predictions, references.found.cases)
    cases = [case for case in references.found.cases if case.case_id in set(case_ids)]
    if not cases:
        raise DataListError(f"{scores['reference']} no longer holds the scored cases")
    layouts = {case.case_id: references.found.layout_of[case.case_id] for case in cases}
    references = replace(references, found=Finding.of(cases, (), layouts))
    files = {case_id: found for case_id, found in given.found.items() if case_id in layouts}
    names = scores.get("reference_labels", [])
    schemes = reference_schemes(references, predicted, names[0] if len(names) == 1 else None)
    pairs = pair_up(references, files, predicted, schemes, slices=False)
    return {pair.case.case_id: pair for pair in pairs}


def _prediction_scheme(results: Results) -> LabelScheme:
    """Scheme of the predictions: from their manifest, or else as the scores name it."""
    try:
        return common_scheme(results.predictions, None)
    except LabelError:
        return common_scheme(results.predictions, results.scores.get("prediction_labels"))


def _scored_view(pair: CasePair | None, case_id: str) -> CaseView:
    if pair is None or not pair.prediction:
        raise DataListError("its files are no longer there", case_id=case_id)
    if pair.problem:
        raise DataListError(pair.problem, case_id=case_id)
    return pair_view(pair, every_channel=True)


def _result_view(results: Results, case_id: str) -> CaseView:
    """View of a result of `infer`, with the images that its record names."""
    record = results.records[case_id]
    case = _recorded_case(case_id, record, results)
    scheme = prediction_scheme(results.folder, None)
    images = case.read_images(case.channels)
    label_map, _ = case.read_prediction(case.label_map_files(results.folder))
    if label_map.shape != images.array.shape[1:]:
        raise DataListError(
            f"its label map has shape {label_map.shape}, but its images {images.array.shape[1:]}",
            remedy="segment it again",
            case_id=case_id,
        )
    return view_of_images(case, images, case.channels, None, scheme.masks(label_map))


def _recorded_case(case_id: str, record: Mapping[str, Any], results: Results) -> Case:
    """The case of a record: files by channel, or a file for each slice."""
    inputs = record.get("inputs", {})
    if not inputs:
        raise DataListError("its images are not recorded", case_id=case_id)
    patient = patient_of(case_id)
    files = _recorded_images(record, results)
    if isinstance(inputs, dict):
        return VolumeCase(case_id, patient, files, tuple(inputs))
    channels = record.get("channels") or _model_channels(results)
    sizes = record.get("spacing_mm")
    return SliceStackCase(
        case_id, patient, files, tuple(channels), spacing_mm=tuple(sizes) if sizes else None
    )


def _recorded_images(record: Mapping[str, Any], results: Results) -> tuple[Path, ...]:
    """Images of a record, each once, also if they were moved together with the results."""
    inputs = record["inputs"]
    names = dict.fromkeys(inputs.values() if isinstance(inputs, dict) else inputs)
    # Sources are absolute, while inputs are as the user gave them.
    sources = [source["path"] for source in record.get("sources", ())] or names
    return tuple(recorded_path(name, results.manifest, results.folder) for name in sources)


def _model_channels(results: Results) -> list[str]:
    """Channels of 2D images, which only the model records."""
    try:
        model = results.manifest["models"][0]["path"]
        header = read_model_header(recorded_path(model, results.manifest, results.folder)).content
    except (LookupError, VolsegError) as error:
        raise DataListError(f"the channels of its images are not known ({error})") from None
    channels: list[str] = header["channels"]
    return channels
