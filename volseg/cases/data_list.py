"""Data lists: cases in folds, as Decathlon JSON of MONAI with keys for case and patient."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from volseg.cases.case import Case, SpacingMm
from volseg.cases.data_list_file import HOW_TO_MAKE_ONE, Entry, doubt_about_folds, read_list_file
from volseg.cases.identity import patient_key
from volseg.cases.kinds import kind_of
from volseg.errors import DataListError
from volseg.files.ownership import data_list_text
from volseg.files.paths import PathLike

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataList:
    """Cases for training and testing.

    Attributes:
        name: Name of the list.
        channels: Channels of the images, unless a case lists its own.
        training: Cases with a label map.
        testing: Cases without a label map.
    """

    name: str
    channels: tuple[str, ...]
    training: tuple[Case, ...]
    testing: tuple[Case, ...] = ()

    def split(self, fold: int | None) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
        """Training cases, and the validation cases of `fold`; None: all cases train."""
        if fold is None:
            return self.training, ()
        validation = tuple(case for case in self.training if case.fold == fold)
        return tuple(case for case in self.training if case.fold != fold), validation

    def cases(self, fold: int | None = None) -> tuple[Case, ...]:
        """All cases, or the cases of one fold; DataListError if the fold has no cases."""
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
    """Errors for patients and files that are in both training and validation."""
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


def read_data_list(path: PathLike, data_root: PathLike | None = None) -> DataList:
    """Read a data list, without checking whether the scans exist.

    Args:
        path: JSON file, written by `write_data_list` or by hand.
        data_root: Folder that the paths start from; None: the folder in the list.

    Returns:
        The cases, with absolute paths.

    Raises:
        DataListError: If the file cannot be read, is not a data list, lists a case twice, or has a
            patient in several folds.
    """
    path = Path(path)
    file = read_list_file(path)
    if data_root is None and file.data_root is None:
        raise DataListError(
            f"data list {path} does not say where its scans are",
            remedy=(
                f"name the folder that holds {(file.training or file.testing)[0].image[0]} as "
                "data.data_root=FOLDER for fit and check, as --data-root FOLDER for infer and "
                f"evaluate, or as data_root in the list; for other scans, {HOW_TO_MAKE_ONE}"
            ),
            path=path,
        )
    if doubt := doubt_about_folds(file.training):
        logger.warning("%s: %s", path, doubt)
    root = _absolute(
        Path(data_root) if data_root is not None else path.parent / (file.data_root or "")
    )
    return DataList(
        name=file.name,
        channels=tuple(file.channels),
        training=tuple(_case(entry, file.channels, root) for entry in file.training),
        testing=tuple(_case(entry, file.channels, root) for entry in file.testing),
    )


def write_data_list(path: Path, data_list: DataList, data_root: Path) -> None:
    """Write a data list, a line for each case, with paths relative to `data_root`.

    The root is written relative to the folder of the list, so that both can move together.

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
    # Links are not resolved, so a project that links to its data can be copied.
    return Path(os.path.normpath(path.absolute()))


def _relative(path: Path, start: Path) -> str:
    try:
        return Path(os.path.relpath(path, start)).as_posix()
    except ValueError:  # Windows: on another drive
        return path.as_posix()


def _case(entry: Entry, channels: Sequence[str], root: Path) -> Case:
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
