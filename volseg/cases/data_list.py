"""Data lists: cases in folds; on disk MONAI's Decathlon JSON with keys for case and patient."""

from __future__ import annotations

import difflib
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from volseg.cases.case import Case, SpacingMm
from volseg.cases.identity import patient_key, patient_of, unfit_name
from volseg.cases.kinds import kind_of
from volseg.config.section import Spacing
from volseg.errors import DataListError
from volseg.files.documents import read_json
from volseg.files.ownership import data_list_text
from volseg.words import cut, listed, shown

logger = logging.getLogger(__name__)

_LONGEST = 400
_Name = Annotated[str, Field(min_length=1)]


def _file_name(name: str) -> str:
    if unfit := unfit_name(name):
        raise ValueError(f"the name {unfit}; call a case by letters that a file name may hold")
    return name


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else ([] if value is None else value)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Entry(_Strict):
    """A case as it stands in a list."""

    case_id: Annotated[_Name, AfterValidator(_file_name)]
    patient_id: _Name
    # One 4D file stands alone, as MSD writes it.
    image: Annotated[
        list[_Name],
        BeforeValidator(_as_list),
        Field(min_length=1),
    ]
    # A stack lists a mask for each slice.
    label: Annotated[list[_Name], BeforeValidator(_as_list)] = []
    fold: Annotated[int, Field(ge=0)] | None = None
    labels: _Name | None = None
    channels: Annotated[list[_Name], Field(min_length=1)] | None = None
    spacing_mm: Annotated[list[Spacing], Field(min_length=3, max_length=3)] | None = None
    groups: dict[str, str] = {}


class _File(_Strict):
    """A data list as it stands on disk."""

    volseg: Literal[1]
    name: str
    channels: Annotated[list[_Name], Field(min_length=1)]
    data_root: _Name | None
    training: list[_Entry]
    testing: list[_Entry] = []
    # Of the list as volseg wrote it; whoever edits it need not care.
    sha256: Any = None
    # What the Decathlon format also has; for other readers.
    description: Any = None
    reference: Any = None
    licence: Any = None
    release: Any = None
    tensorImageSize: Any = None
    modality: Any = None
    labels: Any = None
    numTraining: Any = None
    numTest: Any = None


@dataclass(frozen=True)
class DataList:
    """Cases to train and to test on.

    Attributes:
        name: What the list is called.
        channels: What the images of a case hold, unless the case says otherwise.
        training: Cases with a label map.
        testing: Cases without one.
    """

    name: str
    channels: tuple[str, ...]
    training: tuple[Case, ...]
    testing: tuple[Case, ...] = ()

    def split(self, fold: int | None) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
        """Cases to train on and those of `fold` to validate on; None trains on every case."""
        if fold is None:
            return self.training, ()
        validation = tuple(case for case in self.training if case.fold == fold)
        return tuple(case for case in self.training if case.fold != fold), validation

    def cases(self, fold: int | None = None) -> tuple[Case, ...]:
        """Every case, or those of one fold; DataListError if it has none."""
        if fold is None:
            return self.training + self.testing
        cases = self.split(fold)[1]
        if not cases:
            folds = sorted({case.fold for case in self.training if case.fold is not None})
            raise DataListError(
                f"data list {self.name!r} has no fold {fold}, but {folds}",
                remedy="choose one of them",
            )
        return cases


def leaks(training: Iterable[Case], validation: Iterable[Case]) -> Iterator[DataListError]:
    """What is both trained and validated on: patients, and files of cases."""
    patients: dict[str, Case] = {}
    files: dict[Path, Case] = {}
    for case in training:
        patients.setdefault(patient_key(case.patient_id), case)
        files |= dict.fromkeys((*case.images, *case.label), case)
    for case in validation:
        if other := patients.get(patient_key(case.patient_id)):
            yield DataListError(
                f"patient {case.patient_id} is on both sides: {other.case_id} is trained on, "
                f"{case.case_id} validated on",
                remedy="give all cases of a patient one fold",
            )
        if shared := [path for path in (*case.images, *case.label) if path in files]:
            yield DataListError(
                f"{shared[0]} is on both sides: {files[shared[0]].case_id} is trained on, "
                f"{case.case_id} validated on",
                remedy="list each scan once",
            )


def read_data_list(path: Path, data_root: Path | None = None) -> DataList:
    """Read a data list; whether the scans exist is not looked at.

    Args:
        path: JSON file, written by `write_data_list` or by hand.
        data_root: Folder that the paths start from; None: as the list says.

    Returns:
        The cases, with absolute paths.

    Raises:
        DataListError: If the file cannot be read, is no data list, names a case twice, or has one
            patient in several folds.
    """
    file = _parse(path)
    if data_root is None and file.data_root is None:
        raise DataListError(
            f"{path} does not say where its scans are",
            remedy=(
                f"name the folder that holds {(file.training or file.testing)[0].image[0]}: as "
                "data.data_root=FOLDER for fit and check, as --data-root FOLDER for infer and "
                "evaluate, or as data_root in the list"
            ),
            path=path,
        )
    if doubt := _doubt(file.training):
        logger.warning("%s: %s", path, doubt)
    root = _absolute(data_root or path.parent / (file.data_root or ""))
    return DataList(
        name=file.name,
        channels=tuple(file.channels),
        training=tuple(_case(entry, file.channels, root) for entry in file.training),
        testing=tuple(_case(entry, file.channels, root) for entry in file.testing),
    )


def write_data_list(path: Path, data_list: DataList, data_root: Path) -> None:
    """Write a data list, a line for each case, with paths relative to `data_root`.

    The root is itself written relative to the folder of the list, so that both can move together.

    Args:
        path: JSON file to write.
        data_list: Cases with absolute paths.
        data_root: Folder that the paths in the list start from.

    Raises:
        OSError: If the file cannot be written.
    """
    root = _absolute(data_root)
    content: dict[str, Any] = {
        "name": data_list.name,
        "volseg": 1,
        "tensorImageSize": "4D",
        "modality": {str(i): channel for i, channel in enumerate(data_list.channels)},
        "channels": data_list.channels,
        "data_root": _relative(root, _absolute(path.parent)),
    }
    for key, cases in (("training", data_list.training), ("testing", data_list.testing)):
        content[key] = [_entry(case, data_list.channels, root) for case in cases]
    path.write_text(data_list_text(content), encoding="utf-8", newline="\n")


def _entry(case: Case, channels: Sequence[str], root: Path) -> dict[str, Any]:
    entry = {
        "case_id": case.case_id,
        "patient_id": case.patient_id,
        **case.listed_files(lambda path: _relative(path, root)),
        "fold": case.fold,
        "labels": case.labels,
        "channels": None if tuple(case.channels) == tuple(channels) else case.channels,
        "spacing_mm": case.spacing_mm,
        "groups": dict(case.groups),
    }
    return {key: value for key, value in entry.items() if value not in (None, "", [], {})}


def _absolute(path: Path) -> Path:
    # Links are not followed: a project that reaches its data by a link can be copied.
    return Path(os.path.normpath(path.absolute()))


def _relative(path: Path, start: Path) -> str:
    try:
        return Path(os.path.relpath(path, start)).as_posix()
    except ValueError:  # Windows: on another drive
        return path.as_posix()


def _case(entry: _Entry, channels: Sequence[str], root: Path) -> Case:
    case = kind_of(entry.image)(
        case_id=entry.case_id,
        patient_id=entry.patient_id,
        images=tuple(_absolute(root / name) for name in entry.image),
        channels=tuple(entry.channels or channels),
        label=tuple(_absolute(root / name) for name in entry.label),
        labels=entry.labels,
        fold=entry.fold,
        groups=entry.groups,
    )
    return case.with_spacing(cast(SpacingMm, tuple(entry.spacing_mm))) if entry.spacing_mm else case


def _parse(path: Path) -> _File:
    content = read_json(path, DataListError, f"data list {path}", "make one with volseg split")
    if not isinstance(content, dict) or "volseg" not in content:
        raise DataListError(
            f"{path} is no data list of volseg: it has no key 'volseg'",
            remedy="make one with volseg split",
            path=path,
        )
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        problems = [_explain(detail) for detail in error.errors()]
    else:
        problems = [cut(problem, _LONGEST) for problem in _inconsistencies(file)]
    if problems:
        raise DataListError(listed(f"{path} is not a valid data list:", problems))
    return file


def _inconsistencies(file: _File) -> Iterator[str]:
    """What is wrong between the values of a list."""
    entries = [*file.training, *file.testing]
    if not entries:
        yield "it holds no cases; list some under 'training' or 'testing'"
    for case_id, times in Counter(entry.case_id for entry in entries).items():
        if times > 1:
            yield f"case {case_id} is listed {times} times; keep one"
    yield from _patients_in_several_folds(file.training)
    for entry in file.training:
        if not entry.label:
            yield f"case {entry.case_id} in 'training' has no label; move it to 'testing'"
    for entry in entries:
        misfits = kind_of(entry.image).misfits(
            len(entry.image),
            len(entry.label),
            entry.channels or file.channels,
            has_spacing=entry.spacing_mm is not None,
        )
        yield from (f"case {entry.case_id} {misfit}" for misfit in misfits)


def _patients_in_several_folds(entries: Sequence[_Entry]) -> Iterator[str]:
    """A patient who is trained on and validated on; no fold means trained on, always."""
    folds: dict[str, dict[int | None, _Entry]] = defaultdict(dict)
    for entry in entries:
        folds[patient_key(entry.patient_id)].setdefault(entry.fold, entry)
    for entry_of in folds.values():
        if len(entry_of) > 1:
            (first, *_) = entry_of.values()
            yield (
                f"patient {first.patient_id} is in several folds: {_in_folds(entry_of)}; "
                "give all cases of a patient one fold, or split again"
            )


def _doubt(entries: Sequence[_Entry]) -> str | None:
    """A warning if names tell that cases of two folds are of one patient, unlike the list."""
    folds: dict[str, dict[int | None, _Entry]] = defaultdict(dict)
    for entry in entries:
        folds[patient_key(patient_of(entry.case_id))].setdefault(entry.fold, entry)
    parted = [entry_of for entry_of in folds.values() if len(entry_of) > 1]
    if not parted:
        return None
    return (
        f"by their names, cases of {len(parted)} patients are in several folds, such as "
        f"{_in_folds(parted[0])}; scores will be too good if they are of one person"
    )


def _in_folds(entry_of: Mapping[int | None, _Entry]) -> str:
    return ", ".join(
        f"{entry.case_id} in {'no fold' if fold is None else f'fold {fold}'}"
        for fold, entry in entry_of.items()
    )


def _explain(detail: ErrorDetails) -> str:
    """One mistake found by pydantic, as `place: what was found`."""
    # A key that is no text has no place.
    *outer, last = detail["loc"] or ("it",)
    place = cut(".".join(map(str, detail["loc"])) or "it", 100)
    if detail["type"] == "missing":
        return f"{place}: missing; add it"
    if detail["type"] == "extra_forbidden":
        known = _Entry.model_fields if outer else _File.model_fields
        close = difflib.get_close_matches(str(last), known, n=1, cutoff=0.5)
        return f"{place}: unknown key; " + (f"did you mean {close[0]!r}?" if close else "remove it")
    message = detail["msg"][0].lower() + detail["msg"][1:]
    found = detail["input"]
    return f"{place}: {message}" + (
        "" if isinstance(found, dict | list) else f", got {shown(found)}"
    )
