"""The manifest that `infer` writes: what was made from what, by one process or by many shards."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import volseg
from volseg.cases.case import Case
from volseg.cases.sources import mark, restated
from volseg.config import ExperimentConfig
from volseg.errors import OutputError
from volseg.files.writing import MANIFEST_FILE, atomic_write, make_folder, remove_unfinished
from volseg.finding.finding import Finding
from volseg.inference.predictor import Prediction, Predictor
from volseg.inference.windows import precision_name
from volseg.model_header import describe_scheme
from volseg.results import journal
from volseg.results.journal import BEGUN, FAILURES, RECORDS
from volseg.results.kept import Kept, Made, choose_kept
from volseg.results.manifest import (
    Manifest,
    Shard,
    is_manifest,
    is_of_infer,
    labels_of,
    names_told,
    read_manifests,
    text_of,
    unite,
)
from volseg.results.paths import are_there
from volseg.words import reason

if TYPE_CHECKING:
    from volseg.inference.options import InferOptions

logger = logging.getLogger(__name__)

_OTHER = "or choose another folder with -o"


class ManifestWriter:
    """Writes results and their records.

    The manifest is written when the run begins and ends. In between, a line of its journal tells of
    each case before its result is written, and one after that: whatever kills the process, no
    result is without a trace. Both take the same time, however many cases there are.

    One process writes `manifest.json`, a shard `manifest-K-of-N.json`, so that no two processes
    write one file. Records of earlier runs into the folder stay as long as their results do.
    """

    def __init__(
        self, output: Path, predictor: Predictor, options: InferOptions, finding: Finding
    ) -> None:
        self.shard = Shard.parse(options.shard)
        self.output, self.path = output, output / self.shard.file
        self.finding = finding
        self.names = [case.case_id for case in finding.cases]
        self.made = Made(
            models=[model.sha256 for model in predictor.models],
            settings={
                "tta": options.tta,
                "overlap": options.overlap,
                "overrides": list(options.overrides),
            },
            resolved=[_resolved(model.config, options) for model in predictor.models],
        )
        self.regions = predictor.regions
        self.probabilities, self.overwrite = options.probabilities, options.overwrite
        self.before = _read(output)
        self.kept = Kept()
        # Names of files that earlier runs wrote of a case.
        self.told: dict[str, set[str]] = {}
        root = options.data_root
        self.content: dict[str, Any] = {
            "volseg": volseg.__version__,
            "disclaimer": volseg.DISCLAIMER,
            "models": [
                {"path": str(model.path), "sha256": model.sha256, "volseg": model.version}
                for model in predictor.models
            ],
            "doubts": list(predictor.doubts),
            "labels": describe_scheme(predictor.scheme),
            "device": str(predictor.device),
            "precision": [
                precision_name(model.config, predictor.device.type) for model in predictor.models
            ],
            "options": asdict(options) | {"data_root": root and str(root)},
            RECORDS: {},
            FAILURES: {},
            BEGUN: {},
            "skipped": [],
        }
        if not self.shard.is_whole:
            self.content |= {"shard": str(self.shard), "finished": False}

    @property
    def maps(self) -> Sequence[str]:
        """Regions whose map of probabilities is written."""
        return self.regions if self.probabilities else ()

    def begin(self) -> frozenset[str]:
        """Check that what lies in the folder can stay beside new results, and write the manifest.

        Returns:
            Cases, of this shard or another, whose results are kept.

        Raises:
            OutputError: If something cannot stay, see `choose_kept`, or the manifest cannot be
                written.
        """
        known = unite(self.before)
        cases, mine = known.get(RECORDS, {}), self.shard.share(self.names)
        self.told = {name: names_told(known, name) for name in mine}
        there = self._choose(known)
        self._check_labels(set(cases) - (set(self.names) - there))
        begun = known.get(BEGUN, {})
        if self.shard.is_whole:
            taken_over = len(self.before) > 1
            self.content[RECORDS] = self._in_order(cases) if taken_over else dict(cases)
            self.content[FAILURES] = _without(known.get(FAILURES, {}), mine)
        else:
            self.content[RECORDS] = {name: cases[name] for name in mine if name in cases}
            begun = {name: begun[name] for name in mine if name in begun}
        self.content[BEGUN] = dict(begun)
        # What the search found wrong is the same for all shards: the first tells of it.
        if self.shard.number == 1:
            self.content[FAILURES] |= self.finding.lost
            self.content["skipped"] = [
                {"path": str(skipped.path), "reason": skipped.reason}
                for skipped in self.finding.skipped
            ]
        self.content[FAILURES] |= self.kept.refused
        for case in self.kept.moved:
            sources = _inputs(case, restated(cases[case.case_id]["sources"], case))
            self.content[RECORDS][case.case_id] = cases[case.case_id] | sources
        make_folder(self.output, "choose another with -o")
        self._remove_unfinished()
        self._write()
        if self.shard.is_whole:
            _remove_merged(self.before)
        return there

    def _choose(self, known: Mapping[str, Any]) -> frozenset[str]:
        mine = self.shard.share(self.finding.cases)
        self.kept = choose_kept(
            self.output, mine, self.maps, known, self.made, overwrite=self.overwrite
        )
        of_others = {case.case_id for case in self.finding.cases} - {case.case_id for case in mine}
        return self.kept.cases | {
            case.case_id
            for case in self.finding.cases
            if case.case_id in of_others
            and not self.overwrite
            and are_there(self.output, case, self.maps)
        }

    def _remove_unfinished(self) -> None:
        """Remove what a killed process left of these very results."""
        mine = self.shard.share(self.finding.cases)
        places = [path for case in mine for path in case.result_files(self.output, self.regions)]
        names = {path.name for path in places if path.parent == self.output}
        # A shard merges all into one, too. Where nothing can be locked, those of others stay.
        names |= {self.path.name, MANIFEST_FILE}
        names |= {case.result_folder(self.output).name for case in mine}
        remove_unfinished(self.output, lambda name: name.removesuffix("-old") in names)

    def _check_labels(self, stay: Collection[str]) -> None:
        new = self.content["labels"]
        for old in labels_of(self.before, stay):
            if old != new:
                name = old["name"] if isinstance(old, dict) else old
                raise OutputError(
                    f"{self.output} holds results in label scheme {name!r}, but this run writes "
                    f"{new['name']!r}",
                    remedy="use another folder",
                )

    def add_failure(self, case: Case, why: str) -> None:
        """Record a failure; a result to be replaced goes, or it would pass for a new one."""
        if case.case_id in self.kept.changed or case.case_id in self.content[BEGUN]:
            self._tell(BEGUN, case, sorted(self.told[case.case_id]))
            for path in [*case.label_map_files(self.output), *self._maps_told(case)]:
                _remove(path, "an old result of a case that failed now")
            if (folder := case.result_folder(self.output)) != self.output:
                with contextlib.suppress(OSError):
                    folder.rmdir()
        self._tell(FAILURES, case, why)

    def add_result(
        self, case: Case, prediction: Prediction, seconds: float, sources: Sequence[Any] = ()
    ) -> None:
        """Write the result of a case between two lines of the journal.

        Args:
            case: The case.
            prediction: What the models say of it.
            seconds: How long that took.
            sources: What `read_sources` told when its images were read.
        """
        result, *others = case.label_map_files(self.output)
        output = case.result_folder(self.output).name if others else result.name
        new = {output} | {path.name for path in self._map_places(case, self.maps)}
        self._tell(BEGUN, case, sorted(self.told[case.case_id] | new))
        for path in self._maps_told(case):
            if path.name not in new:
                _remove(path, "a map of an old result")
        maps = prediction.save_probabilities(self.output) if self.probabilities else []
        case.write_label_map(
            self.output, prediction.label_map, prediction.header, binary=prediction.binary
        )
        if prediction.missing:
            missing = ", ".join(prediction.missing)
            logger.info("%s: %s missing, so another channel stands in", case.case_id, missing)
        record = {
            **_inputs(case, sources),
            "output": output,
            "probabilities": [path.name for path in maps],
            "files": self._marks([result, *others, *maps]),
            "models": self.made.models,
            "settings": self.made.settings,
            "resolved": self.made.resolved,
            "seconds": round(seconds, 2),
            "volumes_ml": {name: round(ml, 3) for name, ml in prediction.volumes_ml.items()},
            "missing_channels": list(prediction.missing),
            "notes": list(prediction.notes),
        }
        self._tell(RECORDS, case, record)

    def _map_places(self, case: Case, regions: Sequence[str]) -> list[Path]:
        return [case.probability_file(self.output, region) for region in regions]

    def _maps_told(self, case: Case) -> list[Path]:
        """Maps of probabilities that an earlier run wrote of a case."""
        told = self.told[case.case_id]
        return [path for path in self._map_places(case, self.regions) if path.name in told]

    def _marks(self, written: Iterable[Path]) -> list[dict[str, Any]]:
        """What tells later whether somebody changed what was written."""
        try:
            return [
                {"file": path.relative_to(self.output).as_posix(), **mark(path)} for path in written
            ]
        except OSError as error:
            raise OutputError(
                f"{error.filename or self.output} was written and cannot be read ({reason(error)})",
                remedy="choose another folder with -o",
            ) from None

    def _tell(self, part: str, case: Case, told: object) -> None:
        """Note what became of a case, at once on disk and in what the end will write."""
        journal.add(self.path, part, case.case_id, told)
        journal.note(self.content, part, case.case_id, told)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Write the manifest when the block ends, however it ends."""
        try:
            yield
        except BaseException:
            # The journal tells the same.
            with contextlib.suppress(OutputError):
                self._write()
            raise
        if journal.path_of(self.path).exists():
            self._write()

    def finish(self) -> Path:
        """Mark a shard as finished and merge the shards if all are; the manifest to look at."""
        if not self.shard.is_whole:
            self.content["finished"] = True
            self._write()
            if self._merge():
                return self.output / MANIFEST_FILE
        return self.path

    def _merge(self) -> bool:
        """Merge all manifests of the folder into `manifest.json`, unless a shard is not finished.

        Shards that end at the same moment read the same and so write the same.
        """
        manifests = _read(self.output)
        if self.path not in {one.path for one in manifests}:
            return True  # another shard was quicker
        of_all = [one for one in manifests if one.shard.count == self.shard.count]
        united = unite(manifests)
        there = {c.case_id for c in self.finding.cases if are_there(self.output, c, self.maps)}
        told = {*united["cases"], *united["failures"], *there}
        # A shard that has not begun shows by its cases, since an earlier run may have done them.
        if not all(one.is_finished for one in of_all) or not told.issuperset(self.names):
            return False
        # Results in another scheme are those that a shard has yet to overwrite.
        if any(old != self.content["labels"] for old in labels_of(manifests, united["cases"])):
            return False
        left_out = ["shard", "finished", *([] if united.get(BEGUN) else [BEGUN])]
        whole = _without(self.content | {BEGUN: united.get(BEGUN)}, left_out) | {
            "options": self.content["options"] | {"shard": None},
            "cases": self._in_order(united["cases"]),
            # A case that has a record and failed: what is there is not what was written.
            "failures": self._in_order(
                _without(united["failures"], there - united["cases"].keys())
            ),
            "skipped": united["skipped"],
        }
        _replace(self.output / MANIFEST_FILE, json.dumps(whole, indent=2))
        _remove_merged(manifests)
        return True

    def _in_order(self, named: Mapping[str, Any]) -> dict[str, Any]:
        """The order in which one process would have come to them, what it did not find first."""
        places = {name: place for place, name in enumerate(self.names)}
        return {name: named[name] for name in sorted(named, key=lambda n: places.get(n, -1))}

    def _write(self) -> None:
        """Write the manifest, which then holds what its journal told."""
        # As a rule there is none.
        left_out = [] if self.content[BEGUN] else [BEGUN]
        _replace(self.path, json.dumps(_without(self.content, left_out), indent=2))
        journal.remove(self.path)


def _inputs(case: Case, sources: Sequence[Any]) -> dict[str, Any]:
    """File of each channel, of a stack of each slice; and what was in them."""
    size = {"spacing_mm": list(case.spacing_mm)} if case.spacing_mm else {}
    return {"inputs": case.inputs, "sources": list(sources), **size}


def _resolved(config: ExperimentConfig, options: InferOptions) -> dict[str, Any]:
    """The options that decide a result, as plain data for JSON."""
    given = {"tta": options.tta, "overlap": options.overlap}
    resolved: dict[str, Any] = config.to_dict()["inference"]
    resolved |= {name: value for name, value in given.items() if value is not None}
    return _without(resolved, ["window_batch"])


def _without(named: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in named.items() if name not in names}


def _read(output: Path) -> list[Manifest]:
    """Manifests of a folder whose records can be taken over."""
    try:
        manifests = read_manifests(output)
    except OSError as error:
        raise OutputError(
            f"{error.filename or output} cannot be read ({reason(error)})",
            remedy="choose another folder with -o",
        ) from None
    except ValueError as error:
        raise OutputError(f"{error}", remedy="move it away") from None
    for one in manifests:
        if not is_of_infer(one.content):
            raise OutputError(
                f"{one.path} is no manifest of volseg", remedy=f"move it away, {_OTHER}"
            )
    _check_journals(output, {one.path for one in manifests})
    return manifests


def _check_journals(output: Path, manifests: Collection[Path]) -> None:
    """Refuse a file that is called as a journal, without the manifest that is written before it."""
    for path in output.glob(f"*{journal.ENDING}") if output.is_dir() else ():
        if is_manifest(path.name) and path.with_suffix(".json") not in manifests:
            raise OutputError(
                f"{path} is there without {path.stem}.json, whose journal it could be",
                remedy=f"move it away, {_OTHER}",
                path=path,
            )


def _replace(path: Path, text: str) -> None:
    with atomic_write(path, known=True) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _remove_merged(manifests: Iterable[Manifest]) -> None:
    """Remove manifests of shards, unless a shard began anew and wrote since."""
    for one in manifests:
        if not one.shard.is_whole and one.path.is_file():
            with contextlib.suppress(FileNotFoundError):
                if text_of(one.path) == one.text:
                    _remove(one.path, f"which is merged into {MANIFEST_FILE}")
                    journal.remove(one.path)


def _remove(path: Path, what: str) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}, {what}, cannot be removed ({reason(error)})", remedy="remove it"
        ) from None
