"""Writer of the results of `infer`, with a record of the sources of each result."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import volseg
from volseg.cases.case import Case
from volseg.cases.result_maps import MapKind, map_names
from volseg.cases.sources import fingerprint, relocated_sources
from volseg.confidence.record import confidence_record
from volseg.config import ExperimentConfig
from volseg.errors import OutputError
from volseg.figures.grey_images import GreyImages
from volseg.files.paths import places
from volseg.files.writing import MANIFEST_FILE, make_folder, remove_unfinished
from volseg.finding.finding import Finding
from volseg.inference.options import InferOptions, map_kinds
from volseg.inference.prediction import Prediction
from volseg.inference.predictor import Predictor
from volseg.inference.preview_writer import PreviewWriter
from volseg.inference.probabilities import number_of_copies
from volseg.inference.windows import precision_name
from volseg.measures.record import as_record
from volseg.model_header import describe_scheme
from volseg.results.companions import (
    PREVIEW,
    PREVIEWS,
    case_in_place_of_previews,
    check_companions,
    is_companion,
    preview_name,
)
from volseg.results.journal import FAILURES, RECORDS, UNFINISHED
from volseg.results.journaled_file import without
from volseg.results.locations import is_complete
from volseg.results.manifest import Shard, labels_of, recorded_names, unite
from volseg.results.manifest_file import (
    ManifestFile,
    in_order,
    read_earlier_manifests,
    remove_merged,
    remove_written,
)
from volseg.results.native_files import remove_native_files
from volseg.results.reuse import REPLACING, Recipe, Reusable, choose_reusable
from volseg.results.trained_cases import OF_FIT, TRAINED_BY
from volseg.words import reason

logger = logging.getLogger(__name__)


class ResultWriter:
    """Writes results and their records.

    The journal gets a line for each case before and after its result is written, so that no result
    is without a record, even if the process is killed. Records of earlier runs in the folder are
    kept as long as their results.

    Args:
        output: Folder of the results; need not exist.
        predictor: The models.
        options: Options of the output.
        finding: All cases, including those of other shards.
        trained_by: Run folders by case id, of the cases that a model was trained on.

    Raises:
        OutputError: If the folder holds a manifest that volseg did not write or that cannot be
            read.
    """

    def __init__(
        self,
        output: Path,
        predictor: Predictor,
        options: InferOptions,
        finding: Finding,
        trained_by: Mapping[str, Sequence[str]],
    ) -> None:
        self.output, self.finding, self.trained_by = output, finding, trained_by
        self.shard = Shard.parse(options.shard)
        self.case_ids = [case.case_id for case in finding.cases]
        self.recipe = Recipe(
            models=[model.sha256 for model in predictor.models],
            settings={"overrides": list(options.overrides)},
            resolved=[resolved_options(model.config) for model in predictor.models],
            labels=describe_scheme(predictor.scheme),
        )
        self.regions, self.scheme = predictor.regions, predictor.scheme
        self.assessor = predictor.assessor
        self.kinds = map_kinds(options, number_of_copies(predictor.models))
        self.overwrite = options.overwrite
        self._check_names()
        self.earlier = read_earlier_manifests(output)
        self.reusable = Reusable()
        # Names of the files that earlier runs wrote for each case.
        self.recorded: dict[str, set[str]] = {}
        self._known: Mapping[str, Any] = {}
        self.manifest = ManifestFile(
            output, self.shard, {**_about(predictor, options), **places(output)}
        )
        self.draws = options.preview and not self._hinders_previews()
        self.previews = PreviewWriter(output, {}, wanted=False, overwrite=False)

    def _check_names(self) -> None:
        """Refuse regions of which one is named like a map of another, such as WT_entropy."""
        for name, number in Counter(self.maps).items():
            if number > 1:
                raise OutputError(
                    f"the maps of two regions would be named {name}",
                    remedy="write one kind of map, with --probabilities or --uncertainty",
                )

    def _hinders_previews(self) -> bool:
        """Whether results of a case have the names of pictures; logs a warning."""
        case_id = case_in_place_of_previews(self.finding.cases, self.output)
        if case_id is not None:
            logger.warning(
                "no picture is drawn, since the masks of case %s have the name of the pictures",
                case_id,
            )
        return case_id is not None

    @property
    def maps(self) -> Sequence[str]:
        """Names of the maps that are written beside each label map."""
        return map_names(self.regions, self.kinds)

    def begin(self) -> frozenset[str]:
        """Check that new results may lie beside the files in the folder, and write the manifest.

        Returns:
            Cases, of this shard or another, whose results are kept.

        Raises:
            OutputError: If a file in the folder is in the way (see `choose_reusable`), or the
                manifest cannot be written.
        """
        known = unite(self.earlier)
        records, mine = known.get(RECORDS, {}), self.shard.share(self.case_ids)
        self._known = records
        self.recorded = {case_id: recorded_names(known, case_id) for case_id in mine}
        check_companions(self.output, mine, known, previews=self.draws)
        self.previews = PreviewWriter(
            self.output, records, wanted=self.draws, overwrite=self.overwrite
        )
        kept = self._choose(known)
        self._check_labels(set(records) - (set(self.case_ids) - kept))
        self._take_over(known, mine)
        make_folder(self.output, "choose another with -o")
        self._remove_unfinished()
        self.manifest.write()
        if self.shard.is_whole:
            remove_merged(self.earlier)
        return kept

    def _choose(self, known: Mapping[str, Any]) -> frozenset[str]:
        mine = self.shard.share(self.finding.cases)
        self.reusable = choose_reusable(
            self.output, mine, self.maps, known, self.recipe, overwrite=self.overwrite
        )
        others = {*self.case_ids} - {case.case_id for case in mine}
        return self.reusable.cases | {
            case.case_id
            for case in self.finding.cases
            if case.case_id in others
            and not self.overwrite
            and is_complete(self.output, case, self.maps)
        }

    def _take_over(self, known: Mapping[str, Any], mine: Sequence[str]) -> None:
        """Copy into the new manifest the records of earlier manifests and the skipped files."""
        content, records = self.manifest.content, known.get(RECORDS, {})
        records = records if self.overwrite else _without_replacing(records)
        unfinished = known.get(UNFINISHED, {})
        if self.shard.is_whole:
            is_merged = len(self.earlier) > 1
            content[RECORDS] = in_order(records, self.case_ids) if is_merged else dict(records)
            content[FAILURES] = without(known.get(FAILURES, {}), mine)
        else:
            content[RECORDS] = {name: records[name] for name in mine if name in records}
            unfinished = {name: unfinished[name] for name in mine if name in unfinished}
        content[UNFINISHED] = dict(unfinished)
        # Problems of the search are the same for all shards, so shard 1 records them.
        if self.shard.number == 1:
            content[FAILURES] |= self.finding.lost
            content["skipped"] = [
                {"path": str(skipped.path), "reason": skipped.sentence}
                for skipped in self.finding.skipped
            ]
        content[FAILURES] |= self.reusable.refused
        for case in self.reusable.moved:
            sources = _inputs(case, relocated_sources(records[case.case_id]["sources"], case))
            content[RECORDS][case.case_id] = records[case.case_id] | sources

    def _remove_unfinished(self) -> None:
        """Remove unfinished files that a killed process left of these results."""
        # The set of names of thousands of results is built only if there is an unfinished file.
        remove_unfinished(
            self.output,
            lambda name: is_companion(name) or name.removesuffix("-old") in self._written_names,
        )
        pictures = {Path(preview_name(case_id)).name for case_id in self.recorded}
        remove_unfinished(self.output / PREVIEWS, pictures.__contains__)

    @cached_property
    def _written_names(self) -> set[str]:
        """Names in the folder that this process writes."""
        mine, possible = self.shard.share(self.finding.cases), map_names(self.regions)
        files = [path for case in mine for path in case.result_files(self.output, possible)]
        names = {path.name for path in files if path.parent == self.output}
        # A shard also writes the merged manifest, but no other shard's manifest.
        names |= {self.manifest.path.name, MANIFEST_FILE}
        return names | {case.result_folder(self.output).name for case in mine}

    def _check_labels(self, stay: Collection[str]) -> None:
        new = self.manifest.content["labels"]
        for old in labels_of(self.earlier, stay):
            if old != new:
                name = old["name"] if isinstance(old, dict) else old
                raise OutputError(
                    f"{self.output} holds results in label scheme {name!r}, but this run writes "
                    f"{new['name']!r}",
                    remedy="use another folder",
                )

    def add_failure(self, case: Case, why: str) -> None:
        """Record a failure, and remove an old result that would be mistaken for a new one."""
        unfinished = self.manifest.content[UNFINISHED]
        if case.case_id in self.reusable.changed or case.case_id in unfinished:
            self.manifest.add(UNFINISHED, case.case_id, sorted(self.recorded[case.case_id]))
            for path in [*case.label_map_files(self.output), *self._recorded_maps(case)]:
                remove_written(path, "an old result of a case that failed now")
            self.previews.remove(case)
            self._remove_native(case)
            if (folder := case.result_folder(self.output)) != self.output:
                with contextlib.suppress(OSError):
                    folder.rmdir()
        self.manifest.add(FAILURES, case.case_id, why)

    def add_result(
        self,
        case: Case,
        prediction: Prediction,
        seconds: float,
        sources: Sequence[Any] = (),
        greys: GreyImages | None = None,
    ) -> None:
        """Write the result of a case between two lines of the journal.

        Args:
            case: The case.
            prediction: Prediction of the case.
            seconds: Duration of the segmentation.
            sources: Sources of the images, from `read_sources`.
            greys: The images for the preview.

        Raises:
            OutputError: If the result cannot be written.
        """
        result, *others = case.label_map_files(self.output)
        output = case.result_folder(self.output).name if others else result.name
        new = {output} | {path.name for path in case.map_files(self.output, self.maps)}
        new |= {preview_name(case.case_id)} if self.draws else set()
        self.manifest.add(UNFINISHED, case.case_id, sorted(self.recorded[case.case_id] | new))
        for path in self._recorded_maps(case):
            if path.name not in new:
                remove_written(path, "a map of an old result")
        self._remove_native(case)
        maps = {
            kind: prediction.save_maps(self.output, [kind], overwrite=True) for kind in self.kinds
        }
        case.write_label_map(
            self.output, prediction.label_map, prediction.header, binary=prediction.binary
        )
        record = {
            **_inputs(case, sources),
            "output": output,
            **{kind.value: [path.name for path in maps.get(kind, ())] for kind in MapKind},
            "files": self._marks([result, *others, *chain(*maps.values())]),
            "models": self.recipe.models,
            "settings": self.recipe.settings,
            "resolved": self.recipe.resolved,
            "seconds": round(seconds, 2),
            "volumes_ml": dict(prediction.volumes_ml),
            "measures": as_record(prediction.measures),
            "missing_channels": list(prediction.missing),
            "notes": list(prediction.notes),
            **confidence_record(prediction.confidence),
        }
        if runs := self.trained_by.get(case.case_id):
            record[TRAINED_BY] = list(runs)
        if self.assessor.is_fitted_on(case.patient_id):
            record[OF_FIT] = True
        if mark := self.previews.replace(case, prediction, greys):
            record[PREVIEW] = mark
        if self.overwrite:
            record[REPLACING] = self.recipe.replacing
        self.manifest.add(RECORDS, case.case_id, record)

    def _remove_native(self, case: Case) -> None:
        record = self._known.get(case.case_id, {})
        remove_native_files(self.output, record, overwrite=self.overwrite)

    def _recorded_maps(self, case: Case) -> list[Path]:
        """Maps that an earlier run wrote for a case."""
        recorded, possible = self.recorded[case.case_id], map_names(self.regions)
        return [path for path in case.map_files(self.output, possible) if path.name in recorded]

    def _marks(self, written: Iterable[Path]) -> list[dict[str, Any]]:
        """Marks by which a later run detects that written files were changed."""
        try:
            return [
                {"file": path.relative_to(self.output).as_posix(), **fingerprint(path)}
                for path in written
            ]
        except OSError as error:
            raise OutputError(
                f"{error.filename or self.output} was written and cannot be read ({reason(error)})",
                remedy="choose another folder with -o",
            ) from None

    def finish(self) -> Path:
        """End the run and return the path of the manifest; see `ManifestFile.finish`."""
        records = self.manifest.content[RECORDS]
        if any(REPLACING in record for record in records.values()):
            # The next call with --overwrite segments all cases again.
            self.manifest.content[RECORDS] = _without_replacing(records)
            self.manifest.write()
        return self.manifest.finish(self.case_ids, self._complete)

    def _complete(self) -> frozenset[str]:
        cases = self.finding.cases
        return frozenset(c.case_id for c in cases if is_complete(self.output, c, self.maps))


def _without_replacing(records: Mapping[str, Any]) -> dict[str, Any]:
    return {case_id: without(record, [REPLACING]) for case_id, record in records.items()}


def _about(predictor: Predictor, options: InferOptions) -> dict[str, Any]:
    """Content of a manifest besides its cases."""
    root, device = options.data_root, predictor.device
    return {
        "volseg": volseg.__version__,
        "disclaimer": volseg.DISCLAIMER,
        "models": [
            {"path": str(model.path), "sha256": model.sha256, "volseg": model.version}
            for model in predictor.models
        ],
        "doubts": list(predictor.doubts),
        "labels": describe_scheme(predictor.scheme),
        "device": str(device),
        "precision": [precision_name(model.config, device.type) for model in predictor.models],
        "options": asdict(options) | {"data_root": root and str(root)},
    }


def _inputs(case: Case, sources: Sequence[Any]) -> dict[str, Any]:
    """Files of the images, by channel or slice, with their sources and spacing."""
    size = {"spacing_mm": list(case.spacing_mm)} if case.spacing_mm else {}
    return {"inputs": case.inputs, "sources": list(sources), **size}


def resolved_options(config: ExperimentConfig) -> dict[str, Any]:
    """The options that affect a result, as plain data for JSON."""
    return without(config.to_dict()["inference"], ["window_batch"])
