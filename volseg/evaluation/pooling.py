"""The predictions to score: of one folder, or of a folder for each fold of a cross-validation."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volseg.cases.case import Case
from volseg.errors import DataListError, LabelError, OutputError
from volseg.evaluation.native_predictions import find_native_predictions, note_on_channels
from volseg.evaluation.predictions import Prediction, find_predictions, other_files, some
from volseg.evaluation.records import (
    half_written,
    missing_channels,
    note_on_mixture,
    notes_on_origin,
    read_records,
)
from volseg.evaluation.schemes import prediction_scheme
from volseg.evaluation.written_maps import WrittenMaps
from volseg.labels import LabelScheme
from volseg.results.native_files import results_of
from volseg.results.trained_cases import TRAINED_CASES, recorded_training
from volseg.words import cases_in_words


@dataclass(frozen=True)
class PredictionFolder:
    """Predictions of one folder.

    Attributes:
        path: The folder.
        found: Predictions by case id, of cases of the reference.
        unmatched: Names of predictions without a case of the reference.
        manifest: What `infer` recorded; empty without a manifest.
    """

    path: Path
    found: Mapping[str, Prediction]
    unmatched: tuple[str, ...]
    manifest: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path, cases: Collection[Case]) -> PredictionFolder:
        """Find the predictions of a folder.

        Raises:
            DataListError: If no case has a prediction.
            OutputError: If a prediction is not finished.
        """
        manifest = read_records(path)
        found = (
            find_predictions(path, cases)
            if results_of(path) is path
            else find_native_predictions(path, cases, manifest)
        )
        folder = cls(path, *found, manifest)
        if how := half_written(folder.manifest, folder.there):
            raise OutputError(f"{path} is not complete: {how}", remedy="call volseg infer again")
        return folder

    @property
    def there(self) -> list[str]:
        """Ids of the cases with files."""
        return [case_id for case_id, prediction in self.found.items() if prediction.paths]


@dataclass(frozen=True)
class Predictions:
    """Predictions of all folders, each case in at most one of them.

    Attributes:
        folders: The folders, in the given order.
        cases: Cases of the reference.
    """

    folders: tuple[PredictionFolder, ...]
    cases: tuple[Case, ...]

    @classmethod
    def read(cls, paths: Sequence[Path], cases: Sequence[Case]) -> Predictions:
        """Find the predictions of folders.

        Raises:
            DataListError: If no case of a folder has a reference, or a case is in two folders.
            OutputError: If a prediction is not finished.
        """
        folders = tuple(PredictionFolder.read(path, cases) for path in paths)
        if len({path.resolve() for path in paths}) < len(paths):
            named = " ".join(map(str, paths))
            raise DataListError(f"{named} has a folder twice", remedy="give each folder once")
        home: dict[str, Path] = {}
        for folder in folders:
            for case_id in folder.found:
                first = home.setdefault(case_id, folder.path)
                if first is not folder.path:
                    raise DataListError(
                        f"the predictions of case {case_id} are in {first} and in {folder.path}, "
                        "but folders that are scored together must hold different cases",
                        remedy="remove one of them, or score each folder alone",
                    )
        return cls(folders, tuple(cases))

    @property
    def found(self) -> dict[str, Prediction]:
        """Predictions by case id."""
        return {case: of for folder in self.folders for case, of in folder.found.items()}

    @property
    def unmatched(self) -> tuple[str, ...]:
        """Names of predictions without a case of the reference, sorted."""
        return tuple(sorted({name for folder in self.folders for name in folder.unmatched}))

    @property
    def missing_channels(self) -> dict[str, tuple[str, ...]]:
        """Missing channels by case id, as `infer` recorded them."""
        found: dict[str, tuple[str, ...]] = {}
        for folder, cases in self._shares():
            found |= missing_channels(folder.manifest, {case.case_id for case in cases})
        return found

    @property
    def maps(self) -> dict[str, WrittenMaps]:
        """Maps of probability by case id."""
        found: dict[str, WrittenMaps] = {}
        for folder in self.folders:
            found |= WrittenMaps.of(folder.path, folder.manifest, folder.there)
        return found

    @property
    def trained_cases(self) -> dict[str, list[str]]:
        """Cases by run folder, of the cases that the model of a run was trained on."""
        found: dict[str, list[str]] = {}
        for folder in self.folders:
            for run, case_ids in recorded_training(folder.manifest, folder.there).items():
                found.setdefault(run, []).extend(case_ids)
        return found

    def notes(self) -> Iterator[str]:
        """Notes on the folders, and on predictions of other images or of several models."""
        if len(self.folders) > 1:
            of = [f"{f.path} ({cases_in_words(len(f.found))}{_by(f)})" for f in self.folders]
            yield f"predictions of {len(of)} folders are scored together: {', '.join(of)}"
        for folder, cases in self._shares():
            yield from notes_on_origin(folder.manifest, cases)
            yield from note_on_mixture(folder.manifest, folder.there)
            yield from note_on_channels(folder.found)
            missing = [case.case_id for case in cases if case.case_id not in self.found]
            if missing and (others := other_files(folder.path, missing)):
                yield (
                    f"{folder.path} holds {some(others)}, but no prediction of the case in the "
                    "name; a prediction is named <case_id>.nii.gz"
                )

    def to_dict(self) -> dict[str, Any]:
        """Entries of `scores.json`: the folder, or the folders with their cases and models."""
        paths = [str(folder.path) for folder in self.folders]
        trained = {TRAINED_CASES: found} if (found := self.trained_cases) else {}
        if len(paths) == 1:
            return {"predictions": paths[0], **trained}
        pooled = {
            path: {"cases": sorted(folder.found), "models": _models(folder)}
            for path, folder in zip(paths, self.folders, strict=True)
        }
        return {"predictions": paths, "pooled": pooled, **trained}

    def _shares(self) -> Iterator[tuple[PredictionFolder, list[Case]]]:
        """Each folder with its cases, and with the cases that are in no folder."""
        everywhere = self.found
        for folder in self.folders:
            others = everywhere.keys() - folder.found.keys()
            yield folder, [case for case in self.cases if case.case_id not in others]


def common_scheme(paths: Sequence[Path], labels: str | None) -> LabelScheme:
    """Label scheme of the predictions of all folders; see `prediction_scheme`.

    Raises:
        LabelError: If two folders have different schemes, or that of a folder is not known.
    """
    first, *others = [prediction_scheme(path, labels) for path in paths]
    for path, other in zip(paths[1:], others, strict=True):
        if other != first:
            raise LabelError(
                f"{paths[0]} has label scheme {first.name}, but {path} has {other.name}",
                remedy="score each folder alone",
            )
    return first


def _models(folder: PredictionFolder) -> list[str]:
    """Model files of a folder, as `infer` recorded them."""
    models = folder.manifest.get("models", ())
    return [str(model.get("path")) for model in models if isinstance(model, Mapping)]


def _by(folder: PredictionFolder) -> str:
    models = _models(folder)
    return f", by {' and '.join(models)}" if models else ""
