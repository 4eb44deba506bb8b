"""Predictions in a folder: files of each case of the reference, and files of other cases."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.cases.case import Case
from volseg.errors import DataListError
from volseg.evaluation.label_files import VolumeFile, slice_files, slice_of, volume_files
from volseg.files.ownership import PREPARED_FOLDER
from volseg.results.companions import case_in_place_of_previews, is_companion
from volseg.results.explanation_record import explanations_in
from volseg.results.manifest import is_manifest
from volseg.results.native_files import NATIVE

_NAMES_SHOWN = 3

# 2D masks of one folder, by the name of their slice.
_Masks = Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class Prediction:
    """The prediction of a case.

    Attributes:
        paths: A NIfTI file, or a mask for each slice of a stack, in order; empty if missing.
        problem: Why the case cannot be scored.
        channel: Channel of a native label map that was chosen among several that differ.
    """

    paths: tuple[Path, ...] = ()
    problem: str | None = None
    channel: str | None = None


def find_predictions(
    predictions: Path, cases: Collection[Case]
) -> tuple[dict[str, Prediction], tuple[str, ...]]:
    """Predictions by case id, and the names of predictions of cases without reference.

    Args:
        predictions: Folder of `<case_id>.nii.gz` or `<case_id>-seg.nii.gz`; for stacks also of
            folders `<case_id>` of masks named like the images, and for stacks of one slice of
            masks alone.
        cases: Cases of the reference.

    Raises:
        DataListError: If no case has a prediction.
    """
    found, unmatched = _find_volumes(predictions, [case.case_id for case in cases])
    stacks = [case for case in cases if case.slices]
    if stacks:
        masks, unmatched_masks = _find_masks(predictions, stacks)
        unmatched = tuple(sorted({*unmatched, *unmatched_masks}))
        for case_id, of_slices in masks.items():
            volume = found.get(case_id)
            found[case_id] = _volume_or_masks(volume, of_slices) if volume else of_slices
    if not found:
        by_slice = "<case_id>/<image file>, <image file> for a case of one slice, or "
        names = unmatched or [path.name for path in mask_files(predictions, stacks)]
        raise DataListError(
            f"no file in {predictions} is named after a case of the reference: found "
            f"{some(names) or 'no .nii.gz'}, expected {some([c.case_id for c in cases])}",
            remedy=f"name predictions {by_slice if stacks else ''}<case_id>.nii.gz",
        )
    return found, unmatched


def other_files(predictions: Path, case_ids: Collection[str]) -> list[str]:
    """Names of NIfTI files named after one of these cases and more, such as `<case_id>_pred`."""
    files = _volumes_in(predictions)
    return [file.path.name for file in files if _belongs_to(case_ids, file.case_id)]


def _volume_or_masks(volume: Prediction, of_slices: Prediction) -> Prediction:
    """Prediction of a case with a volume; a problem if there are masks too."""
    if not of_slices.paths:
        return volume
    return Prediction(problem=_two_predictions([volume.paths[0], of_slices.paths[0]]))


def _two_predictions(paths: Sequence[Path]) -> str:
    return f"{paths[0]} and {paths[1]} belong to the same case; keep one"


def _find_volumes(
    predictions: Path, case_ids: Collection[str]
) -> tuple[dict[str, Prediction], tuple[str, ...]]:
    named: dict[str, list[VolumeFile]] = {}
    for file in _volumes_in(predictions):
        named.setdefault(file.case_id, []).append(file)
    found = {}
    for case_id in named.keys() & set(case_ids):
        # A map of probabilities may be named like a label map: <case_id>_GTV beside <case_id>.
        files = [file for file in named[case_id] if file.is_exact] or named[case_id]
        paths = [file.path for file in files]
        found[case_id] = Prediction((paths[0],), _two_predictions(paths) if paths[1:] else None)
    known = {*case_ids, *named}
    others = sorted(named.keys() - set(case_ids))
    return found, tuple(name for name in others if not _belongs_to(known, name))


def _volumes_in(predictions: Path) -> list[VolumeFile]:
    """Volumes below a folder, without maps of `explain`, prepared cases and native label maps.

    Prepared cases hold reference label maps, which must not stand in for missing predictions.
    """
    maps = explanations_in(predictions)
    files = [file for file in volume_files(predictions) if file.path.name not in maps]
    if not _is_of_infer(predictions):
        return files
    others = {NATIVE, PREPARED_FOLDER}
    return [file for file in files if file.path.relative_to(predictions).parts[0] not in others]


def _find_masks(
    predictions: Path, stacks: Sequence[Case]
) -> tuple[dict[str, Prediction], tuple[str, ...]]:
    """Predictions of stacks as 2D masks, and the names of masks of other stacks."""
    folders: dict[Path, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in mask_files(predictions, stacks):
        folders[path.parent][slice_of(path.name)].append(path)
    loose = folders.pop(predictions, {})
    names = Counter(slice_of(c.images[0].name) for c in stacks if len(c.images) == 1)
    found = {}
    for case in stacks:
        home, first = predictions / case.case_id, slice_of(case.images[0].name)
        if home in folders:
            found[case.case_id] = _masks_of(case, home, folders[home])
        elif len(case.images) == 1 and first in loose:
            shared = (
                f"{loose[first][0]} is named like an image of {names[first]} cases; put the masks "
                f"of each case into a folder named after the case, such as {home}"
            )
            found[case.case_id] = (
                Prediction(problem=shared)
                if names[first] > 1
                else _masks_of(case, predictions, loose)
            )
    known = {case.case_id for case in stacks}
    unmatched = {home.name for home in folders if home.parent == predictions} - known
    known |= set(names)
    unmatched |= {name for name in loose if not _belongs_to(known, name)} - known
    return found, tuple(sorted(unmatched))


def mask_files(predictions: Path, stacks: Sequence[Case] = ()) -> list[Path]:
    """2D images below a folder, without the pictures of `explain` and `infer`."""
    pictures = explanations_in(predictions)
    files = [path for path in slice_files(predictions) if path.name not in pictures]
    # `infer` draws no pictures where a case has their name.
    if case_in_place_of_previews(stacks, predictions) or not _is_of_infer(predictions):
        return files
    return [path for path in files if not is_companion(path.relative_to(predictions).parts[0])]


def _is_of_infer(predictions: Path) -> bool:
    return any(is_manifest(path.name) for path in predictions.iterdir())


def _masks_of(case: Case, home: Path, masks: _Masks) -> Prediction:
    """Masks of a stack, in the order of its slices; a problem if a slice has no mask or two."""
    of_slices = [masks.get(slice_of(image.name), ()) for image in case.images]
    if doubled := next((paths for paths in of_slices if len(paths) > 1), None):
        return Prediction(problem=f"{doubled[0]} and {doubled[1]} show the same slice; keep one")
    absent = [
        f"slice {number} ({image.name})"
        for number, (image, paths) in enumerate(zip(case.images, of_slices, strict=True), start=1)
        if not paths
    ]
    if absent:
        have = "has" if len(absent) == 1 else "have"
        problem = f"{some(absent)} {have} no prediction in {home}; segment the case again"
        return Prediction(problem=problem)
    return Prediction(tuple(paths[0] for paths in of_slices))


def _belongs_to(names: Collection[str], name: str) -> bool:
    """Whether a name is a case id and more, as of maps of probabilities: `<case_id>_WT`."""
    return any(name[: cut.start()] in names for cut in re.finditer("[-_]", name))


def some(names: Collection[str]) -> str:
    """The first few names, and the number of all names if there are more."""
    shown = ", ".join(list(names)[:_NAMES_SHOWN])
    return f"{shown}, ... ({len(names)})" if len(names) > _NAMES_SHOWN else shown
