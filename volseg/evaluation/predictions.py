"""The files of a folder of predictions: which is of which case, and which is of none."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.cases.case import Case
from volseg.errors import DataListError
from volseg.evaluation.label_files import VolumeFile, slice_files, slice_of, volume_files

_NAMES_SHOWN = 3

# 2D masks of one folder, by the slice that they are called after.
_Masks = Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class Prediction:
    """The prediction of a case.

    Attributes:
        paths: One NIfTI file, or a mask for each slice of a stack, in order; empty: missing.
        problem: Why it cannot be scored.
    """

    paths: tuple[Path, ...] = ()
    problem: str | None = None


def find_predictions(
    predictions: Path, cases: Collection[Case]
) -> tuple[dict[str, Prediction], tuple[str, ...]]:
    """Predictions of each case, and the names of predictions of no such case.

    Args:
        predictions: Folder of `<case_id>.nii.gz` or `<case_id>-seg.nii.gz`; of a stack, also a
            folder `<case_id>` of masks called as its images, or, of a stack of one slice, the mask.
        cases: The cases of the reference.

    Raises:
        DataListError: If no case has a prediction.
    """
    found, strangers = _find_volumes(predictions, [case.case_id for case in cases])
    stacks = [case for case in cases if case.slices]
    if stacks:
        masks, strange_masks = _find_masks(predictions, stacks)
        strangers = tuple(sorted({*strangers, *strange_masks}))
        for case_id, of_slices in masks.items():
            found[case_id] = _one_of(found[case_id], of_slices) if case_id in found else of_slices
    if not found:
        by_slice = "<case_id>/<image file>, <image file> for a case of one slice, or "
        raise DataListError(
            f"no file in {predictions} bears the name of a case of the reference: found "
            f"{_some(strangers) or 'no .nii.gz'}, expected {_some([c.case_id for c in cases])}",
            remedy=f"name predictions {by_slice if stacks else ''}<case_id>.nii.gz",
        )
    return found, strangers


def _one_of(volume: Prediction, of_slices: Prediction) -> Prediction:
    """A case that has a volume has no masks as well, or nobody knows which to score."""
    if not of_slices.paths:
        return volume
    return Prediction(problem=_doubled([volume.paths[0], of_slices.paths[0]]))


def _doubled(paths: Sequence[Path]) -> str:
    return f"{paths[0]} and {paths[1]} are of one case; keep one"


def _find_volumes(
    predictions: Path, case_ids: Collection[str]
) -> tuple[dict[str, Prediction], tuple[str, ...]]:
    named: dict[str, list[VolumeFile]] = {}
    for file in volume_files(predictions):
        named.setdefault(file.case_id, []).append(file)
    found = {}
    for case_id in named.keys() & set(case_ids):
        # A map of probabilities may end like a label map: <case_id>_GTV beside <case_id>.
        files = [file for file in named[case_id] if file.is_exact] or named[case_id]
        paths = [file.path for file in files]
        found[case_id] = Prediction((paths[0],), _doubled(paths) if paths[1:] else None)
    known = {*case_ids, *named}
    others = sorted(named.keys() - set(case_ids))
    return found, tuple(name for name in others if not _belongs_to_one_of(known, name))


def _find_masks(
    predictions: Path, stacks: Sequence[Case]
) -> tuple[dict[str, Prediction], tuple[str, ...]]:
    """Predictions of stacks that are 2D masks, and the names of masks of no such stack."""
    folders: dict[Path, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in slice_files(predictions):
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
                f"{loose[first][0]} bears the name of the images of {names[first]} cases; put "
                f"those of each case into a folder called as the case, as {home}"
            )
            found[case.case_id] = (
                Prediction(problem=shared)
                if names[first] > 1
                else _masks_of(case, predictions, loose)
            )
    known = {case.case_id for case in stacks}
    strangers = {home.name for home in folders if home.parent == predictions} - known
    known |= set(names)
    strangers |= {name for name in loose if not _belongs_to_one_of(known, name)} - known
    return found, tuple(sorted(strangers))


def _masks_of(case: Case, home: Path, masks: _Masks) -> Prediction:
    """The masks of a stack, in the order of its slices; a slice without one is named."""
    of_slices = [masks.get(slice_of(image.name), ()) for image in case.images]
    if doubled := next((paths for paths in of_slices if len(paths) > 1), None):
        return Prediction(problem=f"{doubled[0]} and {doubled[1]} are of one slice; keep one")
    absent = [
        f"slice {number} ({image.name})"
        for number, (image, paths) in enumerate(zip(case.images, of_slices, strict=True), start=1)
        if not paths
    ]
    if absent:
        have = "has" if len(absent) == 1 else "have"
        problem = f"{_some(absent)} {have} no prediction in {home}; segment the case again"
        return Prediction(problem=problem)
    return Prediction(tuple(paths[0] for paths in of_slices))


def _belongs_to_one_of(names: Collection[str], name: str) -> bool:
    """Whether a file is a scan or a map of probabilities of a case: `<case_id>_WT`."""
    return any(name[: cut.start()] in names for cut in re.finditer("[-_]", name))


def _some(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:_NAMES_SHOWN])
    return f"{shown}, ... ({len(names)})" if len(names) > _NAMES_SHOWN else shown
