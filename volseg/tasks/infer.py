"""`volseg infer`: segment every case of a folder and keep a manifest of what was made from what."""

from __future__ import annotations

import contextlib
import json
import logging
import textwrap
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import volseg
from volseg.checkpoint import describe_scheme
from volseg.datalist import Case, Finding
from volseg.datalist.conventions import cases_in_words
from volseg.errors import OutputError, VolsegError
from volseg.files import MANIFEST_FILE, atomic_write, make_folder
from volseg.inference import Prediction, Predictor, PreparedCase
from volseg.progress import track
from volseg.slices import check_masks_have_room, mask_paths

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class InferOptions:
    """How to segment, and what to write.

    Args:
        tta: Mean over mirrored copies; None: as the models say.
        overlap: Of neighbouring windows, in [0, 1); None: as the models say.
        probabilities: Also write a float32 map for each region.
        device: `auto`, or a device of torch.
        overwrite: Do finished cases again.
        labels: Name of the label scheme to write; None: that of the first model.
        fold: Only the cases of this fold of a data list.
        data_root: Folder that the paths of a data list start from; None: as the list says.
        overrides: Words such as `inference.window_batch=2`, in place of what the models say.
        patient_regex: Tells the patient from the name of a 2D image.
    """

    tta: bool | None = None
    overlap: float | None = None
    probabilities: bool = False
    device: str = "auto"
    overwrite: bool = False
    labels: str | None = None
    fold: int | None = None
    data_root: Path | None = None
    overrides: tuple[str, ...] = ()
    patient_regex: str | None = None


DEFAULTS = InferOptions()


@dataclass(frozen=True)
class InferResult:
    """Cases segmented now, cases that were there already, and cases that failed with the reason."""

    done: tuple[str, ...]
    kept: tuple[str, ...]
    failures: Mapping[str, str]
    manifest: Path


def infer(
    scans: Path, models: Sequence[Path], output: Path, options: InferOptions = DEFAULTS
) -> InferResult:
    """Segment the cases in `scans`, each result on the grid of its images.

    The result of a case is a label map, `<case>.nii.gz`; of slices, a mask each, called as its
    image, in the folder `<case>`, or beside the manifest where a case is a single slice.

    Results that exist are kept unless `options.overwrite`: each is written whole or not at all, so
    a stopped run goes on. A case that fails is named with its reason and the others go on. A place
    that cannot be written ends the run, since every case after it would fail as well.

    Args:
        scans: Folder of cases in any known layout, folder of one case, or data list.
        models: Model files or run folders; several make an ensemble.
        output: Folder for the results and `manifest.json`; made if missing.
        options: How to segment, and what to write.

    Raises:
        CheckpointError: If a model cannot be used.
        DataListError: If there is no case.
        OutputError: If results cannot be written, would replace an input, or would lie among
            results in another label scheme.
    """
    predictor = Predictor(
        models,
        options.device,
        tta=options.tta,
        overlap=options.overlap,
        labels=options.labels,
        overrides=options.overrides,
    )
    finding = predictor.find(scans, options.fold, options.data_root, options.patient_regex)
    _check_places(scans, finding.cases, output, predictor.regions)
    maps = predictor.regions if options.probabilities else ()
    kept = tuple(
        case.case_id
        for case in finding.cases
        if not options.overwrite and all(path.is_file() for path in _results(output, case, maps))
    )
    there = set(kept)
    waiting = [case for case in finding.cases if case.case_id not in there]
    for skipped in finding.skipped:
        logger.warning("left out: %s: %s", skipped.path, skipped.reason)
    manifest = _Manifest(output, predictor, options)
    manifest.begin(kept, [case.case_id for case in waiting], finding)
    scheme = predictor.scheme
    labels = ", ".join(f"{value} {name}" for value, name in scheme.labels.items())
    logger.info("writing label scheme %s: %s", scheme.name, labels)
    if kept:
        logger.info("%s already there and kept", cases_in_words(len(kept)))
    failures = _lost_cases(finding) | _segment_all(waiting, predictor, manifest)
    done = tuple(case.case_id for case in waiting if case.case_id not in failures)
    return InferResult(done, kept, failures, manifest.path)


def _lost_cases(finding: Finding) -> dict[str, str]:
    """Reason for each case that was found but cannot be read, for want of a channel or the like."""
    usable = {case.case_id for case in finding.cases}
    return {
        skipped.case_id: skipped.reason
        for skipped in finding.skipped
        if skipped.case_id is not None and skipped.case_id not in usable
    }


def _home(output: Path, case: Case) -> Path:
    """Folder of the results of a case."""
    return output / case.case_id if case.is_stack and len(case.images) > 1 else output


def _results(output: Path, case: Case, maps: Sequence[str]) -> list[Path]:
    """All files of the result of a case."""
    if case.is_stack:
        results = mask_paths(_home(output, case), case.images)
    else:
        results = [output / f"{case.case_id}.nii.gz"]
    return results + [output / f"{case.case_id}_{region}.nii.gz" for region in maps]


def _check_places(scans: Path, cases: Sequence[Case], output: Path, regions: Sequence[str]) -> None:
    """Check that results replace no input, no other file, and not one another."""
    files = [file for case in cases for file in (*case.images, *case.label)]
    inputs = {file.resolve() for file in [scans, *files]}
    places = {output / MANIFEST_FILE: "the manifest"}
    for case in cases:
        if case.is_stack:
            check_masks_have_room(_home(output, case), case.images)
        for result in _results(output, case, regions):
            other = places.setdefault(result, f"case {case.case_id}")
            if other != f"case {case.case_id}":
                raise OutputError(
                    f"{result} would be the result of case {case.case_id} and of {other}; "
                    "segment them into folders of their own"
                )
    for result in places:
        if result.resolve() in inputs:
            raise OutputError(f"{result} is an input and would be replaced; use another folder")


def _segment_all(
    cases: Sequence[Case], predictor: Predictor, manifest: _Manifest
) -> dict[str, str]:
    """Segment the cases; the next is read and the last is written while the network works.

    At most three are in memory. Returns the reason of each that failed.
    """
    failures: dict[str, str] = {}
    writing: Future[None] | None = None
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        steps = _read_ahead(cases, predictor, reader)
        for case, prepared in track(steps, "segmenting", len(cases)):
            start = time.monotonic()
            prediction = _predict(case, prepared, predictor)
            if writing is not None:
                writing.result()
            if isinstance(prediction, str):
                failures[case.case_id] = prediction
                writing = writer.submit(manifest.add_failure, case, prediction)
            else:
                seconds = time.monotonic() - start
                writing = writer.submit(manifest.add_result, case, prediction, seconds)
        if writing is not None:
            writing.result()
    return failures


def _read_ahead(
    cases: Iterable[Case], predictor: Predictor, reader: ThreadPoolExecutor
) -> Iterator[tuple[Case, Future[PreparedCase]]]:
    """Each case and its images to come, one case being read ahead."""
    ahead: deque[tuple[Case, Future[PreparedCase]]] = deque()
    for case in cases:
        ahead.append((case, reader.submit(predictor.prepare, case)))
        if len(ahead) > 1:
            yield ahead.popleft()
    yield from ahead


def _predict(case: Case, prepared: Future[PreparedCase], predictor: Predictor) -> Prediction | str:
    """The prediction, or the reason why there is none."""
    try:
        return predictor.predict_prepared(prepared.result())
    except VolsegError as error:
        reason = str(error)
        logger.error("%s failed: %s", case.case_id, reason)
    # A night's run must not end at one odd case, whatever it is; the traceback is in the log.
    except Exception as error:
        reason = f"unexpected {type(error).__name__}: {error}"
        logger.exception("%s failed unexpectedly", case.case_id)
    return reason


class _Manifest:
    """`manifest.json` of an output folder, whole on disk after each case.

    Records of earlier runs into the folder stay as long as their results do.
    """

    def __init__(self, output: Path, predictor: Predictor, options: InferOptions) -> None:
        self.output, self.path = output, output / MANIFEST_FILE
        self.models = [model.sha256 for model in predictor.models]
        self.regions = predictor.regions
        self.probabilities, self.overwrite = options.probabilities, options.overwrite
        self.before = _read(self.path)
        root = options.data_root
        self.content: dict[str, Any] = {
            "volseg": volseg.__version__,
            "disclaimer": volseg.DISCLAIMER,
            "models": [
                {"path": str(model.path), "sha256": model.sha256, "volseg": model.version}
                for model in predictor.models
            ],
            "labels": describe_scheme(predictor.scheme),
            "device": str(predictor.device),
            "options": asdict(options) | {"data_root": root and str(root)},
            "cases": dict(self.before.get("cases", {})),
            "failures": dict(self.before.get("failures", {})),
        }
        self.written: dict[str, str] = {}

    def begin(self, kept: Sequence[str], again: Sequence[str], finding: Finding) -> None:
        """Check that what lies in the folder can stay beside new results, and write."""
        cases = self.content["cases"]
        stay = set(cases) - set(again)
        old, new = self.before.get("labels"), self.content["labels"]
        if stay and old != new:
            raise OutputError(
                f"{self.output} holds results in label scheme {old and old['name']!r}, but this "
                f"run writes {new['name']!r}; use another folder"
            )
        other = [name for name in kept if cases.get(name, {}).get("models") != self.models]
        if other:
            logger.warning(
                "%d results are kept that were not made by these models, such as %s; "
                "--overwrite makes them again",
                len(other),
                other[0],
            )
        for name in [*kept, *again]:
            self.content["failures"].pop(name, None)
        self.content["failures"] |= _lost_cases(finding)
        self.content["skipped"] = [
            {"path": str(skipped.path), "reason": skipped.reason} for skipped in finding.skipped
        ]
        make_folder(self.output, "choose another with -o")
        self._write()

    def add_failure(self, case: Case, reason: str) -> None:
        """Record a failure; a result to be overwritten goes, or it would pass for a new one."""
        if self.overwrite:
            self.content["cases"].pop(case.case_id, None)
            for path in _results(self.output, case, self.regions):
                _remove(path)
            if (home := _home(self.output, case)) != self.output:
                with contextlib.suppress(OSError):
                    home.rmdir()
        self.content["failures"][case.case_id] = reason
        self._write()

    def add_result(self, case: Case, prediction: Prediction, seconds: float) -> None:
        """Write the result of a case, then its record."""
        maps = prediction.save_probabilities(self.output) if self.probabilities else []
        result, *others = _results(self.output, case, ())
        if case.is_stack:
            prediction.save_slices(_home(self.output, case))
        else:
            prediction.save(result)
        if prediction.missing:
            missing = ", ".join(prediction.missing)
            logger.info("%s: %s missing, so another channel stands in", case.case_id, missing)
        self.written.pop(case.case_id, None)
        self.content["cases"][case.case_id] = {
            "inputs": _inputs(case),
            "output": _home(self.output, case).name if others else result.name,
            "probabilities": [path.name for path in maps],
            "models": self.models,
            "seconds": round(seconds, 2),
            "volumes_ml": {name: round(ml, 3) for name, ml in prediction.volumes_ml.items()},
            "missing_channels": list(prediction.missing),
            "notes": list(prediction.notes),
        }
        self._write()

    def _write(self) -> None:
        with atomic_write(self.path) as temporary:
            temporary.write_text(self._text() + "\n", encoding="utf-8")

    def _text(self) -> str:
        """`content` as `json.dumps` indents it; each record is made text once.

        Of thousands of slices, each a case, that of all records would take longer than the network.
        """
        cases = self.content["cases"]
        for case_id in cases.keys() - self.written.keys():
            record = json.dumps({case_id: cases[case_id]}, indent=2)
            self.written[case_id] = textwrap.indent(record[2:-2], "  ")
        records = ",\n".join(self.written[case_id] for case_id in cases)
        text = json.dumps({**self.content, "cases": {}}, indent=2)
        # Only a key of the outermost object stands two spaces behind the beginning of a line.
        empty = '\n  "cases": {'
        return text.replace(empty, f"{empty}\n{records}\n  ", 1) if cases else text


def _inputs(case: Case) -> dict[str, str] | list[str]:
    """File of each channel; of a stack, of each slice."""
    if case.is_stack:
        return [str(path) for path in case.images]
    files = case.images if len(case.images) > 1 else case.images * len(case.channels)
    return {channel: str(path) for channel, path in zip(case.channels, files, strict=True)}


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}, an old result of a case that failed now, cannot be removed "
            f"({error.strerror or error}); remove it"
        ) from None


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} is no manifest of volseg ({error}); move it away") from None
