"""`volseg infer`: segments every case of a folder and records the sources of each result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from volseg.cases.case import Case
from volseg.cases.result_maps import MapKind, map_names
from volseg.confidence.record import read_confidence
from volseg.confidence.verdict import CaseConfidence
from volseg.errors import DataListError, OutputError
from volseg.files.paths import PathLike
from volseg.files.writing import MANIFEST_FILE
from volseg.finding.finding import Finding
from volseg.finding.own_results import prepared_folder_around
from volseg.inference.ensemble import remedy_for_missing
from volseg.inference.folder import Outcome, segment_cases
from volseg.inference.options import InferOptions
from volseg.inference.overview import write_overview
from volseg.inference.predictor import Predictor
from volseg.inference.result_writer import ResultWriter
from volseg.measures.record import read_measures
from volseg.measures.table import CaseMeasures
from volseg.native_maps import check_room, native_example, plan_native, write_native_maps
from volseg.results.companions import VOLUMES_FILE, sheets_in
from volseg.results.journal import FAILURES, RECORDS
from volseg.results.locations import check_result_files
from volseg.results.manifest import Shard, read_manifest
from volseg.results.native_files import NATIVE
from volseg.results.trained_cases import TRAINED_BY, by_run, training_in_words
from volseg.runs.trained_cases import runs_trained_on
from volseg.words import cases_in_words

logger = logging.getLogger(__name__)

DEFAULTS = InferOptions()


@dataclass(frozen=True)
class InferResult:
    """Result for all cases, or for the cases of a shard.

    Attributes:
        done: Cases segmented now.
        kept: Cases whose results existed already.
        failures: Reason of each case that failed.
        manifest: `manifest.json`, or the shard's manifest while other shards are not finished.
        empty: Regions without a voxel in any label map written now.
        stopped: Whether `stop` ended the run before its last case.
        has_references: Whether label maps lie beside the images.
        example: An image and its label map, as an example to view; the original scan with
            `native`, if it is where it was.
        measures: Volume, lesions and diameters of each region, by case id.
        pictures: Contact sheets of all cases in the folder.
        native: Folder of the label maps on original grids, if they were asked for.
        confidence: Predicted Dice and reasons to look at a result, by case id.
        has_fit: Whether the model has a fit for the predicted Dice.
        patients_of_fit: Number of patients of the fit; 0 without a fit.
        trained_on: Cases whose patients a model was trained on.
        has_profile: Whether a model file describes the training images.
    """

    done: tuple[str, ...]
    kept: tuple[str, ...]
    failures: Mapping[str, str]
    manifest: Path
    stopped: bool = False
    empty: tuple[str, ...] = ()
    has_references: bool = False
    example: tuple[Path, Path] | None = None
    measures: CaseMeasures = field(default_factory=dict)
    pictures: tuple[Path, ...] = ()
    native: Path | None = None
    confidence: Mapping[str, CaseConfidence] = field(default_factory=dict)
    has_fit: bool = False
    patients_of_fit: int = 0
    trained_on: tuple[str, ...] = ()
    has_profile: bool = True


def infer(
    scans: PathLike | Mapping[str, PathLike],
    models: PathLike | Sequence[PathLike],
    output: PathLike,
    options: InferOptions = DEFAULTS,
    stop: Callable[[], bool] = lambda: False,
) -> InferResult:
    """Segment the cases in `scans`, each result on the grid of its images.

    The result of a case is a label map, `<case>.nii.gz`. For slices, it is a mask for each slice,
    named like the image, in the folder `<case>`, or beside the manifest if the case is one slice.
    Beside the results lie `volumes.csv` and, unless `options.preview` is False, a picture of each
    case in the folder `previews` and the contact sheets `previews.png`, `previews-2.png`, ...
    With `options.probabilities` and `options.uncertainty`, maps of each region lie beside the label
    map, `<case>_<region>.nii.gz`, `<case>_<region>_entropy.nii.gz` and, for several mirrored copies
    or models, `<case>_<region>_disagreement.nii.gz`.
    With `options.native`, the label maps also lie on the original grids of cases that `prepare`
    wrote, in the folder `native`; `volumes.csv`, pictures and maps are of the prepared grid.

    Existing results are kept unless `options.overwrite`. A result is written completely or not at
    all, so a stopped run can be called again. The sources of existing results are compared; see
    `choose_reusable`. A case that fails is named with its reason, and the next case begins. An
    output that cannot be written ends the run, since every later case would fail too.

    All shards of `options.shard` together give the results of a single process. Each shard writes a
    manifest, and the last shard to finish merges them. Shard 1 names the cases that were found but
    cannot be used.

    Args:
        scans: Folder of cases in any known layout, folder of one case, data list, or one file; or
            the file of each channel of one case.
        models: Model files or run folders; several models make an ensemble.
        output: Folder for the results and `manifest.json`; made if missing.
        options: Options of segmentation and output.
        stop: Function called before each case; once it returns True, no further case begins.

    Raises:
        ModelError: If a model cannot be used.
        ConfigError: If an option is not valid.
        DataListError: If there is no case.
        OutputError: If results cannot be written, would replace an input, or would be mixed with
            results of another label scheme, other images, models or options.
    """
    Shard.parse(options.shard)
    scans = scans if isinstance(scans, Mapping) else Path(scans)
    # Checked before the models, which take longer to read.
    check_there(scans)
    check_apart(Path(output))
    predictor = Predictor(models, options.device, options.labels, options.overrides)
    folder = scans if isinstance(scans, Path) else None
    return infer_cases(predictor.find(scans, options), folder, predictor, output, options, stop)


def infer_cases(
    finding: Finding,
    folder: Path | None,
    predictor: Predictor,
    output: PathLike,
    options: InferOptions,
    stop: Callable[[], bool],
    *,
    warns: bool = True,
) -> InferResult:
    """Segment cases that were found, in `folder` if they lie in one; see `infer`.

    There may be no case: then the failures of the search are recorded. Unless `warns`, the caller
    has named what was left out.
    """
    shard, output = Shard.parse(options.shard), Path(output)
    # A damaged fit is refused before any work.
    fit = predictor.assessor.fit
    check_result_files(finding.cases, output, map_names(predictor.regions), shard, folder)
    used = [(model.path, model.config.data.fold) for model in predictor.models]
    trained_by = runs_trained_on(finding.cases, used)
    mine = shard.share(finding.cases)
    plan = plan_native(mine, options.native)
    writer = ResultWriter(output, predictor, options, finding, trained_by)
    check_room(plan, writer)
    if shard.number == 1 and warns:
        _log_left_out(finding, predictor)
    there = writer.begin()
    predictor.warn()
    logger.info("writing label scheme %s", predictor.scheme)
    if options.uncertainty and MapKind.DISAGREEMENT not in writer.kinds:
        logger.info("no map of disagreement: it needs --tta or several models")
    if not mine and not shard.is_whole:
        found = cases_in_words(len(finding.cases))
        logger.info("shard %s has no case: found only %s", shard, found)
    trained = by_run({c.case_id: trained_by[c.case_id] for c in mine if c.case_id in trained_by})
    for sentence in training_in_words(trained, [case.case_id for case in mine]):
        logger.warning("%s", sentence)
    kept = tuple(case.case_id for case in mine if case.case_id in there)
    if kept:
        # Their predicted Dice is listed too, also where nothing is segmented.
        predictor.warn_of_fit()
        _log_kept(kept, writer.previews.missing(kept), overwrite=options.overwrite)
    refused = {**writer.reusable.refused, **plan.refused}
    for case_id, why in refused.items():
        logger.error("%s failed: %s", case_id, why)
    waiting = [case for case in mine if case.case_id not in {*there, *refused}]
    with writer.manifest.writing():
        for case_id, why in plan.refused.items():
            writer.manifest.add(FAILURES, case_id, why)
        outcome = segment_cases(waiting, predictor, writer, stop)
        if not outcome.stopped:
            segmented = [case for case in mine if case.case_id in {*outcome.done, *kept}]
            no_way_back, outcome.stopped = write_native_maps(segmented, plan, writer, stop)
            outcome.failures |= no_way_back
    lost: dict[str, str] = finding.lost if shard.number == 1 else {}
    path = writer.manifest.path if outcome.stopped else writer.finish()
    # While other shards are not finished, the last of them writes the overview.
    if not outcome.stopped and path.name == MANIFEST_FILE:
        _write_overview(output, draws=writer.draws, has_news=bool(outcome.done))
    records = writer.manifest.content[RECORDS]
    results = [case.case_id for case in mine if case.case_id in {*outcome.done, *kept} & {*records}]
    return InferResult(
        done=tuple(outcome.done),
        kept=kept,
        failures=lost | refused | outcome.failures,
        manifest=path,
        stopped=outcome.stopped,
        empty=_empty_regions(predictor, outcome),
        has_references=any(case.label for case in mine),
        example=native_example(mine, plan, output)
        or _example(mine, {*outcome.done, *kept}, output),
        measures={case_id: read_measures(records[case_id]) for case_id in results},
        pictures=tuple(sorted(sheets_in(output))) if writer.draws else (),
        native=output / NATIVE if plan.channels else None,
        confidence={case_id: read_confidence(records[case_id]) for case_id in results},
        has_fit=fit is not None,
        patients_of_fit=fit.single.patients if fit else 0,
        trained_on=tuple(case_id for case_id in results if records[case_id].get(TRAINED_BY)),
        has_profile=any(model.training_data is not None for model in predictor.models),
    )


def _log_left_out(finding: Finding, predictor: Predictor) -> None:
    for skipped in finding.skipped:
        logger.warning("left out: %s: %s", skipped.path, skipped.sentence)
    log_remedy_for_missing(finding, predictor)


def log_remedy_for_missing(finding: Finding, predictor: Predictor) -> None:
    """Warn how cases can be segmented that were left out because they lack channels."""
    if number := sum(bool(skipped.lacks) for skipped in finding.skipped):
        remedy = remedy_for_missing(predictor.models)
        logger.warning("to segment %s without some channels, %s", cases_in_words(number), remedy)


def _empty_regions(predictor: Predictor, outcome: Outcome) -> tuple[str, ...]:
    """Regions without a voxel in any label map of this run; logs a warning."""
    empty = tuple(r for r in predictor.scheme.regions if outcome.done and r not in outcome.found)
    if empty:
        logger.warning(
            "no voxel of %s is in the label maps of %s: if the images should show it, the "
            "model does not suit them, or they were prepared differently from its training images",
            ", ".join(empty),
            cases_in_words(len(outcome.done)),
        )
    return empty


def _log_kept(kept: Sequence[str], without_picture: Sequence[str], *, overwrite: bool) -> None:
    how = "segmented again before the run was stopped" if overwrite else "segmented before"
    logger.info("%s kept: %s", cases_in_words(len(kept)), how)
    if without_picture:
        logger.info(
            "%s kept without a picture, such as %s: pictures are drawn when cases are segmented "
            "again, with --overwrite",
            cases_in_words(len(without_picture)),
            without_picture[0],
        )


def _write_overview(output: Path, *, draws: bool, has_news: bool) -> None:
    """Write table and contact sheets, unless they are there and no result is new."""
    is_there = (output / VOLUMES_FILE).is_file() and (sheets_in(output) or not draws)
    if has_news or not is_there:
        write_overview(output, read_manifest(output)[RECORDS], draws=draws)


def check_there(scans: Path | Mapping[str, PathLike]) -> None:
    """Refuse paths that do not exist, with DataListError."""
    for path in map(Path, scans.values() if isinstance(scans, Mapping) else [scans]):
        if not path.exists():
            raise DataListError(
                f"{path} does not exist",
                remedy="give a folder of scans, a data list or the images of a case",
                path=path,
            )


def check_apart(output: Path) -> None:
    """Refuse an output that is, or lies in, a folder of prepared cases, with OutputError."""
    if home := prepared_folder_around(output):
        raise OutputError(
            f"{output} lies in {home}, a folder of prepared cases that volseg prepare writes",
            remedy="give a folder beside it with -o",
            path=output,
        )


def _example(
    cases: Sequence[Case], segmented: Collection[str], output: Path
) -> tuple[Path, Path] | None:
    """Image and label map of the first segmented volume, or None."""
    first = next((c for c in cases if c.case_id in segmented and not c.slices), None)
    return None if first is None else (first.images[-1], first.label_map_files(output)[0])
