"""A folder of predictions: what they mean, which file is of which case, which none is of."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volseg.cases.case import Case
from volseg.cases.channels import LABEL
from volseg.cases.sources import changed_since, is_of_others
from volseg.errors import ConfigError, DataListError, LabelError
from volseg.finding.name_reading import read_name
from volseg.images.file_names import is_nifti, is_slice, stem
from volseg.labels import LABEL_SCHEMES, LabelScheme, get_scheme
from volseg.results.journal import RECORDS, UNFINISHED
from volseg.results.manifest import read_manifest
from volseg.results.reuse import Recipe
from volseg.words import cut

_NAMES_SHOWN = 3
_MASK_ENDING = re.compile(r"[-_](mask|seg|label)$", re.IGNORECASE)

# 2D masks of one folder, by the slice that they are called after.
_Masks = Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class Predicted:
    """The prediction of a case.

    Attributes:
        paths: One NIfTI file, or a mask for each slice of a stack, in order.
        problem: Why it cannot be scored.
    """

    paths: tuple[Path, ...] = ()
    problem: str | None = None


def prediction_scheme(predictions: Path, labels: str | None) -> LabelScheme:
    """Label scheme of the predictions: the one asked for, or that of their `manifest.json`.

    Raises:
        DataListError: If there is no such folder.
        LabelError: If the scheme is not known, or the manifest contradicts `labels`.
    """
    if not predictions.is_dir():
        raise DataListError(
            f"{predictions} is not a folder", remedy="give the folder of the predictions"
        )
    if labels:
        return _named_scheme(predictions, labels)
    return _manifest_scheme(predictions)


def _named_scheme(predictions: Path, labels: str) -> LabelScheme:
    """The scheme `labels`, unless the manifest beside the predictions says another."""
    named = get_scheme(labels)
    try:
        written = _manifest_scheme(predictions)
    except LabelError:
        return named
    if written.labels != named.labels:
        raise LabelError(
            f"the manifest.json of {predictions} says label scheme {written.name!r}, but labels "
            f"says {labels!r}",
            remedy="leave labels out",
        )
    return named


def _manifest_scheme(predictions: Path) -> LabelScheme:
    """The scheme that `infer` noted beside its results; LabelError if there is none."""
    try:
        written = read_manifest(predictions)["labels"]
        if isinstance(written, str):
            return get_scheme(written)
        values = {int(value): name for value, name in written["labels"].items()}
        return LabelScheme(written["name"], values, written["regions"])
    except FileNotFoundError:
        reason = "it has no manifest.json"
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ConfigError) as error:
        reason = f"its manifest.json tells none: {cut(str(error), 300)}"
    raise LabelError(
        f"the label scheme of {predictions} is not known ({reason})",
        remedy=f"name it with labels, one of {', '.join(LABEL_SCHEMES)}",
    )


def noted_of(predictions: Path) -> dict[str, Any]:
    """What `infer` noted of its results; empty where it wrote none of the predictions."""
    try:
        return read_manifest(predictions)
    # Predictions of another program have no manifest, or one of their own.
    except (OSError, ValueError):
        return {}


def half_written(noted: Mapping[str, Any], case_ids: Collection[str]) -> str | None:
    """Which results of these cases `infer` was writing when it was killed, in words."""
    unfinished = sorted(set(noted.get(UNFINISHED, ())).intersection(case_ids))
    if not unfinished:
        return None
    more = f" and {len(unfinished) - 1} more" if unfinished[1:] else ""
    return f"volseg infer began to write that of {unfinished[0]}{more}, but has not noted its end"


def not_alike(noted: Mapping[str, Any], case_ids: Collection[str]) -> str | None:
    """How results of these cases are not all of the same models and options, in words.

    So it is where `infer --overwrite` was stopped, and where each fold was given its own model.
    """
    records = noted.get(RECORDS, {})
    known = [
        (name, records[name]) for name in sorted(case_ids) if "models" in records.get(name, ())
    ]
    if not known:
        return None
    first, record = known[0]
    recipe = Recipe(record["models"], record.get("settings", {}), record.get("resolved", ()))
    others = {name: how for name, of in known if (how := recipe.differs(of))}
    if not others:
        return None
    name, how = next(iter(others.items()))
    return (
        f"{len(others)} of {len(known)}, such as that of {name}, were made "
        f"{how.partition(' (')[0]} than that of {first}"
    )


def missing_channels(
    records: Mapping[str, Any], case_ids: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Channels that each case lacks, as `infer` noted it; only cases that lack one."""
    noted = {name: tuple(records[name].get("missing_channels", ())) for name in records}
    return {case_id: names for case_id, names in noted.items() if case_id in case_ids and names}


def made_of_others(records: Mapping[str, Any], cases: Iterable[Case]) -> Iterator[str]:
    """Sentences where predictions bear the names of cases, but were made from other images."""
    known = [case for case in cases if case.case_id in records]
    stale = {c.case_id: path for c in known if (path := changed_since(records[c.case_id], c))}
    if stale:
        name, path = next(iter(stale.items()))
        more = f" and {len(stale) - 1} more" if stale.keys() - {name} else ""
        yield (
            f"the prediction of {name}{more} was made before {path} changed, so it is of an older "
            "scan; segment it again with volseg infer"
        )
    others = [
        case
        for case in known
        if case.case_id not in stale and is_of_others(records[case.case_id], case)
    ]
    if others:
        first, more = others[0], f" and {len(others) - 1} more" if others[1:] else ""
        made_of = records[first.case_id]["sources"][0]["path"]
        yield (
            f"the prediction of {first.case_id}{more} was made from other images than those of "
            f"the reference ({made_of}, not {first.images[0]}): it may be of another patient"
        )


def find_predictions(
    predictions: Path, cases: Collection[Case]
) -> tuple[dict[str, Predicted], tuple[str, ...]]:
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


def _one_of(volume: Predicted, of_slices: Predicted) -> Predicted:
    """A case that has a volume has no masks as well, or nobody knows which to score."""
    if not of_slices.paths:
        return volume
    return Predicted(problem=_doubled([volume.paths[0], of_slices.paths[0]]))


def _doubled(paths: Sequence[Path]) -> str:
    return f"{paths[0]} and {paths[1]} are of one case; keep one"


def _find_volumes(
    predictions: Path, case_ids: Collection[str]
) -> tuple[dict[str, Predicted], tuple[str, ...]]:
    named: dict[str, list[Path]] = {}
    for path in nifti_files(predictions):
        named.setdefault(case_of(path), []).append(path)
    found = {}
    for case_id in named.keys() & set(case_ids):
        # A map of probabilities may end like a label map: <case_id>_GTV beside <case_id>.
        paths = [path for path in named[case_id] if stem(path.name) == case_id] or named[case_id]
        found[case_id] = Predicted((paths[0],), _doubled(paths) if paths[1:] else None)
    known = {*case_ids, *named}
    others = sorted(named.keys() - set(case_ids))
    return found, tuple(name for name in others if not _belongs_to_one_of(known, name))


def _find_masks(
    predictions: Path, stacks: Sequence[Case]
) -> tuple[dict[str, Predicted], tuple[str, ...]]:
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
                Predicted(problem=shared)
                if names[first] > 1
                else _masks_of(case, predictions, loose)
            )
    known = {case.case_id for case in stacks}
    strangers = {home.name for home in folders if home.parent == predictions} - known
    known |= set(names)
    strangers |= {name for name in loose if not _belongs_to_one_of(known, name)} - known
    return found, tuple(sorted(strangers))


def _masks_of(case: Case, home: Path, masks: _Masks) -> Predicted:
    """The masks of a stack, in the order of its slices; a slice without one is named."""
    of_slices = [masks.get(slice_of(image.name), ()) for image in case.images]
    if doubled := next((paths for paths in of_slices if len(paths) > 1), None):
        return Predicted(problem=f"{doubled[0]} and {doubled[1]} are of one slice; keep one")
    absent = [
        f"slice {number} ({image.name})"
        for number, (image, paths) in enumerate(zip(case.images, of_slices, strict=True), start=1)
        if not paths
    ]
    if absent:
        have = "has" if len(absent) == 1 else "have"
        problem = f"{_some(absent)} {have} no prediction in {home}; segment the case again"
        return Predicted(problem=problem)
    return Predicted(tuple(paths[0] for paths in of_slices))


def _belongs_to_one_of(names: Collection[str], name: str) -> bool:
    """Whether a file is a scan or a map of probabilities of a case: `<case_id>_WT`."""
    return any(name[: cut.start()] in names for cut in re.finditer("[-_]", name))


def nifti_files(folder: Path) -> list[Path]:
    """NIfTI files below a folder, in order."""
    files = (path for path in folder.rglob("*") if is_nifti(path.name))
    return sorted(path for path in files if not path.name.startswith("."))


def slice_files(folder: Path) -> list[Path]:
    """2D images below a folder; those of one folder in the order of the numbers in their names."""
    files = [path for path in folder.rglob("*") if is_slice(path.name)]
    # Hidden folders hold what is being written.
    visible = (p for p in files if not any(n[0] == "." for n in p.relative_to(folder).parts))
    return sorted(visible, key=lambda path: (path.parent, _by_number(path.name)))


def _by_number(name: str) -> list[int | str]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def case_of(path: Path) -> str:
    """Case of a label map called `<case_id>`, `<case_id>-seg`, or `seg` in the folder of a case."""
    read = read_name(path.name, ())
    return (read.case or path.parent.name) if LABEL in read.contents else stem(path.name)


def slice_of(name: str) -> str:
    """Slice that a 2D image or its mask is called after.

    >>> slice_of("patient_3.tif"), slice_of("patient_3_mask.png")
    ('patient_3', 'patient_3')
    """
    return _MASK_ENDING.sub("", Path(name).stem)


def _some(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:_NAMES_SHOWN])
    return f"{shown}, ... ({len(names)})" if len(names) > _NAMES_SHOWN else shown
