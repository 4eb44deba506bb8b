"""`volseg infer --prepare`: prepares raw scans, then segments them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from volseg.files.ownership import PREPARED_FOLDER
from volseg.files.paths import PathLike
from volseg.files.writing import MANIFEST_FILE
from volseg.finding.finding import Finding, Skipped
from volseg.inference.options import InferOptions
from volseg.inference.predictor import Predictor
from volseg.inference.result_writer import ResultWriter
from volseg.native_maps import REFERENCE
from volseg.results.manifest import unite
from volseg.results.reuse import check_replaceable
from volseg.tasks.infer import InferResult, check_apart, infer_cases, log_remedy_for_missing
from volseg.tasks.prepare import PrepareOptions, PrepareResult, prepare


def infer_raw(
    scans: PathLike,
    models: PathLike | Sequence[PathLike],
    output: PathLike,
    options: InferOptions,
    preparation: PrepareOptions,
    stop: Callable[[], bool] = lambda: False,
    between: Callable[[PrepareResult], None] = lambda prepared: None,
) -> InferResult:
    """Prepare the cases in `scans` into `output/prepared`, and segment them on original grids too.

    Cases that cannot be prepared are among the failures of the result. Finished cases are kept by
    both steps.

    Args:
        scans: Folder of cases, one case, or a data list.
        models: Model files or run folders; several models make an ensemble.
        output: Folder for the results and the prepared cases.
        options: Options of `infer`; those on the names and the list of cases hold for the scans.
        preparation: Options `to` and `strip` of `prepare`; `options` decide the others.
        stop: Function called before each case; once it returns True, no further case begins.
        between: Function called after the preparation, with its result.

    Raises:
        VolsegError: As `prepare` and `infer` do.
    """
    check_apart(Path(output))
    # The models come first: a preparation takes minutes a case.
    predictor = Predictor(models, options.device, options.labels, options.overrides)
    raw = predictor.find(scans, options)
    _check_results(raw, predictor, Path(output), options)
    log_remedy_for_missing(raw, predictor)
    preparation = replace(
        preparation,
        channels=tuple(predictor.channels),
        required=tuple(predictor.required),
        pictures=options.preview,
        overwrite=options.overwrite,
        names=options.names,
        label_name=options.label_name,
        fold=options.fold,
        data_root=options.data_root,
    )
    home = Path(output) / PREPARED_FOLDER
    prepared = prepare(scans, home, preparation, stop)
    between(prepared)
    if prepared.stopped:
        return InferResult((), (), prepared.failures, Path(output) / MANIFEST_FILE, stopped=True)
    native = options.native or REFERENCE
    options = replace(options, native=native, names=(), label_name=None, fold=None, data_root=None)
    finding = _found(prepared, predictor, options)
    return infer_cases(finding, home, predictor, output, options, stop, warns=False)


def _check_results(raw: Finding, predictor: Predictor, output: Path, options: InferOptions) -> None:
    """Refuse, before the preparation, results that the segmentation would not replace."""
    writer = ResultWriter(output, predictor, options, raw, {})
    known = unite(writer.earlier)
    check_replaceable(
        *(output, raw.cases, writer.maps, known, writer.recipe), overwrite=options.overwrite
    )


def _found(prepared: PrepareResult, predictor: Predictor, options: InferOptions) -> Finding:
    """The cases of this preparation, and its failures; cases of earlier ones may be outdated."""
    lost = [
        Skipped(prepared.folder, f"not prepared: {why}", case_id)
        for case_id, why in prepared.failures.items()
    ]
    now = {*prepared.done, *prepared.kept}
    if not now:
        return Finding.of((), lost, {})
    found = predictor.find(prepared.folder, options)
    cases = tuple(case for case in found.cases if case.case_id in now)
    return replace(found, cases=cases, skipped=(*found.skipped, *lost))
