"""The manifest that `infer` writes: what was made from what, by one process or by many shards."""

from __future__ import annotations

import contextlib
import json
import logging
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import volseg
from volseg.datalist import Case, Finding
from volseg.datalist.manifests import Manifest, Shard, labels_of, read_manifests, unite
from volseg.errors import OutputError
from volseg.files import MANIFEST_FILE, atomic_write, make_folder
from volseg.inference import Prediction, Predictor
from volseg.model_header import describe_scheme
from volseg.tasks.places import are_there, home, results
from volseg.windows import precision_name

if TYPE_CHECKING:
    from volseg.tasks.infer import InferOptions

logger = logging.getLogger(__name__)


class ManifestWriter:
    """Writes results and their records; the manifest is whole on disk after each case.

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
        self.models = [model.sha256 for model in predictor.models]
        # What else a label map depends on; None: as the models say.
        self.settings = {
            "tta": options.tta,
            "overlap": options.overlap,
            "overrides": list(options.overrides),
        }
        self.regions = predictor.regions
        self.probabilities, self.overwrite = options.probabilities, options.overwrite
        self.before = _read(output)
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
            "cases": {},
            "failures": {},
            "skipped": [],
        }
        if not self.shard.is_whole:
            self.content |= {"shard": str(self.shard), "finished": False}
        self.written: dict[str, str] = {}

    @property
    def maps(self) -> Sequence[str]:
        """Regions whose map of probabilities is written."""
        return self.regions if self.probabilities else ()

    def begin(self, there: Collection[str]) -> None:
        """Check that what lies in the folder can stay beside new results, and write.

        Args:
            there: Cases, of this shard or another, whose results are kept.

        Raises:
            OutputError: If it cannot stay, or the manifest cannot be written.
        """
        known = unite(self.before)
        cases, mine = known.get("cases", {}), self.shard.share(self.names)
        again = set(self.names) - set(there)
        self._check_labels(set(cases) - again)
        self._warn_of_others(cases, [name for name in mine if name in there])
        if self.shard.is_whole:
            taken_over = len(self.before) > 1
            self.content["cases"] = self._in_order(cases) if taken_over else dict(cases)
            self.content["failures"] = _without(known.get("failures", {}), mine)
        else:
            self.content["cases"] = {name: cases[name] for name in mine if name in cases}
        # What the search found wrong is the same for all shards: the first tells of it.
        if self.shard.number == 1:
            self.content["failures"] |= lost_cases(self.finding)
            self.content["skipped"] = [
                {"path": str(skipped.path), "reason": skipped.reason}
                for skipped in self.finding.skipped
            ]
        make_folder(self.output, "choose another with -o")
        self._write()
        if self.shard.is_whole:
            _remove_merged(self.before)

    def _check_labels(self, stay: Collection[str]) -> None:
        new = self.content["labels"]
        for old in labels_of(self.before, stay):
            if old != new:
                name = old["name"] if isinstance(old, dict) else old
                raise OutputError(
                    f"{self.output} holds results in label scheme {name!r}, but this "
                    f"run writes {new['name']!r}; use another folder"
                )

    def _warn_of_others(self, cases: Mapping[str, Any], kept: Iterable[str]) -> None:
        other = [
            name
            for name in kept
            if cases.get(name, {}).get("models") != self.models
            or cases[name].get("settings", self.settings) != self.settings
        ]
        if other:
            logger.warning(
                "%d results are kept that were not made by these models and options, such as %s; "
                "--overwrite makes them again",
                len(other),
                other[0],
            )

    def add_failure(self, case: Case, reason: str) -> None:
        """Record a failure; a result to be overwritten goes, or it would pass for a new one."""
        if self.overwrite:
            self.content["cases"].pop(case.case_id, None)
            for path in results(self.output, case, self.regions):
                _remove(path, "an old result of a case that failed now")
            if (folder := home(self.output, case)) != self.output:
                with contextlib.suppress(OSError):
                    folder.rmdir()
        self.content["failures"][case.case_id] = reason
        self._write()

    def add_result(self, case: Case, prediction: Prediction, seconds: float) -> None:
        """Write the result of a case, then its record."""
        maps = prediction.save_probabilities(self.output) if self.probabilities else []
        result, *others = results(self.output, case, ())
        if case.is_stack:
            prediction.save_slices(home(self.output, case))
        else:
            prediction.save(result)
        if prediction.missing:
            missing = ", ".join(prediction.missing)
            logger.info("%s: %s missing, so another channel stands in", case.case_id, missing)
        self.written.pop(case.case_id, None)
        self.content["cases"][case.case_id] = {
            "inputs": _inputs(case),
            "output": home(self.output, case).name if others else result.name,
            "probabilities": [path.name for path in maps],
            "models": self.models,
            "settings": self.settings,
            "seconds": round(seconds, 2),
            "volumes_ml": {name: round(ml, 3) for name, ml in prediction.volumes_ml.items()},
            "missing_channels": list(prediction.missing),
            "notes": list(prediction.notes),
        }
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
        whole = _without(self.content, ["shard", "finished"]) | {
            "options": self.content["options"] | {"shard": None},
            "cases": self._in_order(united["cases"]),
            "failures": self._in_order(_without(united["failures"], there)),
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
        _replace(self.path, self._text())

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


def lost_cases(finding: Finding) -> dict[str, str]:
    """Reason for each case that was found but cannot be read, for want of a channel or the like."""
    usable = {case.case_id for case in finding.cases}
    return {
        skipped.case_id: skipped.reason
        for skipped in finding.skipped
        if skipped.case_id is not None and skipped.case_id not in usable
    }


def _inputs(case: Case) -> dict[str, str] | list[str]:
    """File of each channel; of a stack, of each slice."""
    if case.is_stack:
        return [str(path) for path in case.images]
    files = case.images if len(case.images) > 1 else case.images * len(case.channels)
    return {channel: str(path) for channel, path in zip(case.channels, files, strict=True)}


def _without(named: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in named.items() if name not in names}


def _read(output: Path) -> list[Manifest]:
    """Manifests of a folder whose records can be taken over."""
    try:
        manifests = read_manifests(output)
        for one in manifests:
            _ = one.cases, one.failures
    except OSError as error:
        raise OutputError(
            f"{error.filename or output} cannot be read ({error.strerror or error}); "
            "choose another folder with -o"
        ) from None
    except ValueError as error:
        raise OutputError(f"{error}; move it away") from None
    return manifests


def _replace(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _remove_merged(manifests: Iterable[Manifest]) -> None:
    """Remove manifests of shards, unless a shard began anew and wrote since."""
    for one in manifests:
        if not one.shard.is_whole and one.path.is_file():
            with contextlib.suppress(FileNotFoundError):
                if one.path.read_text(encoding="utf-8") == one.text:
                    _remove(one.path, f"which is merged into {MANIFEST_FILE}")


def _remove(path: Path, what: str) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}, {what}, cannot be removed ({error.strerror or error}); remove it"
        ) from None
