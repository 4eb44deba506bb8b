"""`volseg explain`: maps of the parts of a scan that the prediction of each region rests on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from volseg.attribution.cases import CaseExplainer
from volseg.attribution.explaining import PredictedCase, check_region
from volseg.attribution.layers import Layer, chosen_layer, layers_of
from volseg.attribution.methods import ExplainOptions
from volseg.attribution.result_files import ExplanationFiles
from volseg.cases.case import Case
from volseg.errors import OutputError, VolsegError
from volseg.evaluation.case_label_map import Shown, read_case_label_map
from volseg.files.paths import PathLike
from volseg.finding.finding import Finding
from volseg.inference.predictor import Predictor
from volseg.labels import Masks
from volseg.model_file import load_model
from volseg.results.explanation_record import map_name
from volseg.tasks.infer import check_apart, check_there, log_remedy_for_missing
from volseg.words import cases_in_words

logger = logging.getLogger(__name__)

DEFAULTS = ExplainOptions()


@dataclass(frozen=True)
class ExplainResult:
    """Result for all cases.

    Attributes:
        done: Regions explained now, by case id.
        kept: Regions that were explained before, by case id.
        failures: Reason of each case of which a region, or all, failed.
        record: `explanations.json`.
        shares: Shares of the channels of each region, by case id; empty for methods without.
        boxes_mm: Side of the boxes of each region, by case id; empty but for occlusion.
        pictures: Pictures of the maps made now.
        example: An image and a map of it, as an example to view; None for slices.
        stopped: Whether `stop` ended the run before its last region.
    """

    done: Mapping[str, Sequence[str]]
    kept: Mapping[str, Sequence[str]]
    failures: Mapping[str, str]
    record: Path
    shares: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    boxes_mm: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    pictures: tuple[Path, ...] = ()
    example: tuple[Path, Path] | None = None
    stopped: bool = False


def explain(
    scans: PathLike | Mapping[str, PathLike],
    models: PathLike | Sequence[PathLike],
    output: PathLike,
    options: ExplainOptions = DEFAULTS,
    stop: Callable[[], bool] = lambda: False,
) -> ExplainResult:
    """Explain the predictions of models: a map for each case and region, on the grid of the scan.

    A map is `<case>_<region>_<method>.nii.gz`, of the voxel of highest probability
    `<case>_<region>_<method>-at-maximum.nii.gz`; beside it lies a picture of the same name, with
    the outline of the region in the prediction and, if the case has a label map, in the reference.
    `explanations.json` records models, options and sources. Maps of the same scan, models and
    options are kept unless `options.overwrite`. A case or a region that fails is named with its
    reason, and the next begins.

    Args:
        scans: What `infer` takes: a folder of cases, one case, a data list or one file; or the file
            of each channel of one case.
        models: Model files or run folders; several models make an ensemble, whose map is the mean.
        output: Folder of the results; made if missing.
        options: Method, regions and output.
        stop: Function called before each region; once it returns True, nothing further begins.

    Raises:
        ModelError: If a model cannot be used.
        ConfigError: If an option is not valid.
        AttributionError: If a model has no such region or layer.
        DataListError: If there is no case.
        OutputError: If a file that volseg did not write is in the place of a result, or a result
            cannot be written.
    """
    output = Path(output)
    scans = scans if isinstance(scans, Mapping) else Path(scans)
    check_there(scans)
    check_apart(output)
    if output.is_file():
        raise OutputError(
            f"{output} is a file, but a folder for the maps is expected",
            remedy="give a folder with -o",
            path=output,
        )
    predictor = Predictor(models, options.device, None, options.overrides)
    _check_names(predictor, options)
    finding = predictor.find(scans, options)
    files = ExplanationFiles(output, predictor, options)
    folder = scans if isinstance(scans, Path) else None
    plans = files.begin(finding.cases, folder, finding.lost)
    for skipped in finding.skipped:
        logger.warning("left out: %s: %s", skipped.path, skipped.sentence)
    log_remedy_for_missing(finding, predictor)
    kept = {plan.case.case_id: plan.kept for plan in plans if plan.kept}
    if kept:
        logger.info("maps of %s kept: explained before", cases_in_words(len(kept)))
    explainer = CaseExplainer(predictor, options, files, _References(finding), stop)
    with files.writing():
        outcome = explainer.run(plans)
        files.finish()
    return ExplainResult(
        done=outcome.done,
        kept=kept,
        failures=finding.lost | outcome.failures,
        record=files.path,
        shares=outcome.shares,
        boxes_mm=outcome.boxes_mm,
        pictures=tuple(outcome.pictures),
        example=_example(finding.cases, outcome.done, output, options.kind),
        stopped=outcome.stopped,
    )


def layers(model: PathLike) -> tuple[list[Layer], Layer]:
    """The layers of a model that `grad-cam` can show, and the one that it takes by default.

    Raises:
        ModelError: If the model cannot be read.
    """
    loaded = load_model(model)
    return layers_of(loaded), chosen_layer(loaded, None)


def _check_names(predictor: Predictor, options: ExplainOptions) -> None:
    """Refuse regions and layers that a model does not have, before any case is read."""
    for region in options.regions:
        check_region(region, predictor.models[0])
    for model in predictor.models if options.method == "grad-cam" else ():
        chosen_layer(model, options.layer)


def _example(
    cases: Sequence[Case], done: Mapping[str, Sequence[str]], output: Path, kind: str
) -> tuple[Path, Path] | None:
    """An image and the map of a region of the first explained volume, or None."""
    first = next((case for case in cases if case.case_id in done and not case.slices), None)
    if first is None:
        return None
    name = map_name(first.case_id, done[first.case_id][0], kind)
    return first.images[-1], output / f"{name}.nii.gz"


@dataclass(frozen=True)
class _References:
    """Reads the reference of a case for its pictures."""

    finding: Finding

    def __call__(self, case: Case, predicted: PredictedCase) -> Masks | None:
        """Masks of the reference on the grid of the scan; None without one, or if it is unfit."""
        if not case.label:
            return None
        path = case.label[0] if len(case.label) == 1 else case.label[0].parent
        layout = self.finding.layout_of[case.case_id]
        shown = Shown(case, predicted.case.grid, layout, predicted.models[0].config.data.channels)
        try:
            return read_case_label_map(path, shown, case.labels, "labels").masks
        # No map may fail because of a reference.
        except VolsegError as error:
            logger.warning("%s: the reference is not drawn: %s", case.case_id, error.without_case)
            return None
