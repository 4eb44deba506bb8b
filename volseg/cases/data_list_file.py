"""The file of a data list: its keys, and checks of their values."""

from __future__ import annotations

import difflib
import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from volseg.cases.identity import patient_key, patient_of, unfit_name
from volseg.cases.kinds import kind_of
from volseg.config.section import Spacing
from volseg.errors import DataListError
from volseg.files.documents import read_json
from volseg.words import cut, listed, shown

#: Remedy in errors of data lists that cannot be used.
HOW_TO_MAKE_ONE = (
    "make one of your scans with volseg split FOLDER -o list.json, and give it to fit and check as "
    "data.data_list=list.json"
)

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


class Entry(_Strict):
    """A case in the file of a data list."""

    case_id: Annotated[_Name, AfterValidator(_file_name)]
    patient_id: _Name
    # A single 4D file is a text, not a list, as in MSD.
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


class ListFile(_Strict):
    """The content of the file of a data list."""

    volseg: Literal[1]
    name: str
    channels: Annotated[list[_Name], Field(min_length=1)]
    data_root: _Name | None
    training: list[Entry]
    testing: list[Entry] = []
    # Digest of the list as volseg wrote it; edits need not update it.
    sha256: Any = None
    # Other keys of the Decathlon format, for other readers.
    description: Any = None
    reference: Any = None
    licence: Any = None
    release: Any = None
    tensorImageSize: Any = None
    modality: Any = None
    labels: Any = None
    numTraining: Any = None
    numTest: Any = None


def read_list_file(path: Path) -> ListFile:
    """Content of the file of a data list; DataListError lists all mistakes."""
    make_one = f"make one with: volseg split FOLDER -o {shlex.quote(str(path))}"
    if not os.path.lexists(path):
        raise DataListError(f"data list {path} does not exist", remedy=make_one, path=path)
    if not path.exists():
        raise DataListError(f"data list {path} does not exist", remedy=HOW_TO_MAKE_ONE, path=path)
    content = read_json(path, DataListError, f"data list {path}", "make one with volseg split")
    if not isinstance(content, dict) or "volseg" not in content:
        raise DataListError(
            f"{path} is no data list of volseg: it has no key 'volseg'",
            remedy="make one with volseg split",
            path=path,
        )
    try:
        file = ListFile.model_validate(content)
    except ValidationError as error:
        problems = [_explain(detail) for detail in error.errors()]
    else:
        problems = [cut(problem, _LONGEST) for problem in _inconsistencies(file)]
    if problems:
        raise DataListError(listed(f"{path} is not a valid data list:", problems))
    return file


def _inconsistencies(file: ListFile) -> Iterator[str]:
    """Contradictions between the values of a list."""
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


def _patients_in_several_folds(entries: Sequence[Entry]) -> Iterator[str]:
    """Patients in several folds; cases without a fold always train, so no fold counts as a fold."""
    folds: dict[str, dict[int | None, Entry]] = defaultdict(dict)
    for entry in entries:
        folds[patient_key(entry.patient_id)].setdefault(entry.fold, entry)
    for entry_of in folds.values():
        if len(entry_of) > 1:
            (first, *_) = entry_of.values()
            yield (
                f"patient {first.patient_id} is in several folds: {_in_folds(entry_of)}; "
                "give all cases of a patient one fold, or split again"
            )


def doubt_about_folds(entries: Sequence[Entry]) -> str | None:
    """A warning if names suggest that cases of two folds belong to one patient, unlike the list."""
    folds: dict[str, dict[int | None, Entry]] = defaultdict(dict)
    for entry in entries:
        folds[patient_key(patient_of(entry.case_id))].setdefault(entry.fold, entry)
    parted = [entry_of for entry_of in folds.values() if len(entry_of) > 1]
    if not parted:
        return None
    return (
        f"by their names, cases of {len(parted)} patients are in several folds, such as "
        f"{_in_folds(parted[0])}; scores will be too good if they are of one person"
    )


def _in_folds(entry_of: Mapping[int | None, Entry]) -> str:
    return ", ".join(
        f"{entry.case_id} in {'no fold' if fold is None else f'fold {fold}'}"
        for fold, entry in entry_of.items()
    )


def _explain(detail: ErrorDetails) -> str:
    """A mistake found by pydantic, as `place: problem`."""
    # A key that is not a text has no place.
    *outer, last = detail["loc"] or ("it",)
    place = cut(".".join(map(str, detail["loc"])) or "it", 100)
    if detail["type"] == "missing":
        return f"{place}: missing; add it"
    if detail["type"] == "extra_forbidden":
        known = Entry.model_fields if outer else ListFile.model_fields
        close = difflib.get_close_matches(str(last), known, n=1, cutoff=0.5)
        return f"{place}: unknown key; " + (f"did you mean {close[0]!r}?" if close else "remove it")
    message = detail["msg"][0].lower() + detail["msg"][1:]
    found = detail["input"]
    return f"{place}: {message}" + (
        "" if isinstance(found, dict | list) else f", got {shown(found)}"
    )
