"""Files of a prepared case: which are kept, which are ours to replace, and writing them whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy.typing as npt

from volseg.cases.case import Case
from volseg.cases.sources import fingerprint, has_fingerprint, relation
from volseg.errors import DataListError, OutputError
from volseg.files.ownership import PREPARATION_FOLDER, check_ours
from volseg.files.writing import move_into_place, remove, scratch_folder
from volseg.finding.name_reading import read_name
from volseg.images.nifti_writing import write_image
from volseg.preparation.record import (
    FileMark,
    PreparationRecord,
    read_record,
    record_path,
    write_record,
)
from volseg.words import reason

_LABEL = "seg"
_REMEDY = "move it away, or choose another folder with -o"


@dataclass(frozen=True)
class CaseFiles:
    """Files of a case in a folder of prepared cases.

    Attributes:
        home: Folder of prepared cases.
        case_id: The case.
    """

    home: Path
    case_id: str

    @property
    def folder(self) -> Path:
        """Folder of the images."""
        return self.home / self.case_id

    @property
    def picture(self) -> Path:
        """Picture of the steps."""
        return self.home / PREPARATION_FOLDER / f"{self.case_id}.png"

    @cached_property
    def record(self) -> PreparationRecord | None:
        """Record of an earlier run; None: there is none.

        Raises:
            OutputError: If another file is in its place, or it is damaged.
        """
        path = record_path(self.home, self.case_id)
        if not os.path.lexists(path):
            return None
        check_ours(path)
        try:
            return read_record(path)
        except DataListError as error:
            raise OutputError(error.problem, remedy=_REMEDY, path=path) from None

    def check_ours(self) -> None:
        """Check that all files in the place of this case are those that its record lists.

        Raises:
            OutputError: If one is not, or was changed since.
        """
        if self.case_id == PREPARATION_FOLDER:
            raise OutputError(
                f"a case is named {self.case_id}, as the folder of records is",
                remedy="rename the folder of the case",
            )
        check_ours(self.picture)
        if not os.path.lexists(self.folder):
            return
        if self.folder.is_symlink() or not self.folder.is_dir():
            raise OutputError(
                f"{self.folder} is there already and is no folder", remedy=_REMEDY, path=self.folder
            )
        written = {} if self.record is None else {m.path: m for m in self.record.files}
        for path in sorted(self.folder.iterdir()):
            mark = written.get(path.relative_to(self.home).as_posix())
            if mark is None or not _is_as_written(path, mark):
                what = "was changed after" if mark else "is there already and was not written by"
                raise OutputError(f"{path} {what} volseg prepare", remedy=_REMEDY, path=path)

    def kept(self, case: Case, options: Mapping[str, Any]) -> PreparationRecord | None:
        """The record, if the case is prepared already from these files with these options.

        Args:
            case: The case now.
            options: Options as a record holds them.

        Raises:
            OutputError: If the case was prepared from other files elsewhere.
        """
        record = self.record
        if record is None:
            return None
        sources = [source.model_dump() for source in record.sources]
        found = relation({"sources": sources, "spacing_mm": None}, case, self.folder)
        if found == "elsewhere":
            raise OutputError(
                f"{self.folder} was prepared from other images, such as {sources[0]['path']}",
                remedy="choose another folder with -o",
                path=self.folder,
            )
        is_complete = all((self.home / mark.path).is_file() for mark in record.files)
        # The same files may be other channels now, by --channels or --name.
        is_same = found in {"same", "moved"} and tuple(record.channels) == case.channels
        is_same = is_same and _has_label(record, case) and _has_mask(record)
        return record if is_complete and is_same and record.options == options else None

    def file_names(self, channels: Mapping[str, object]) -> dict[str, str]:
        """Names of the files of channels, such as `P7-t1c.nii.gz`.

        If a name would be read as another case, all files are named by their channel alone.
        """
        long = {name: f"{self.case_id}-{name}.nii.gz" for name in channels}
        read = {name: read_name(file, tuple(channels)) for name, file in long.items()}
        if all((one.case, one.contents) == (self.case_id, (n,)) for n, one in read.items()):
            return {**long, _LABEL: f"{self.case_id}-{_LABEL}.nii.gz"}
        return {**{name: f"{name}.nii.gz" for name in channels}, _LABEL: f"{_LABEL}.nii.gz"}

    def write(
        self,
        images: Mapping[str, npt.NDArray[Any]],
        label_map: npt.NDArray[Any] | None,
        header: Any,
        complete: Callable[[Mapping[str, FileMark], FileMark | None], PreparationRecord],
    ) -> PreparationRecord:
        """Write the images, the label map and the record, all or none.

        Args:
            images: Arrays (I, J, K) by channel.
            label_map: The label map, if there is one.
            header: Header of all files.
            complete: Gives the record, from the marks of the images and of the label map.

        Raises:
            OutputError: If a file cannot be written; the files of an earlier run then stay.
        """
        names = self.file_names(images)
        arrays = {**images, **({} if label_map is None else {_LABEL: label_map})}
        with scratch_folder(self.home, self.case_id) as scratch:
            written = scratch / self.case_id
            written.mkdir()
            for name, array in arrays.items():
                write_image(written / names[name], array, header)
            marks = {name: self._mark(written, names[name]) for name in arrays}
            label = marks.pop(_LABEL, None)
            record = complete(marks, label)
            self.check_ours()
            remove(self.picture)
            if self.folder.is_dir():
                move_into_place(self.folder, scratch / f"{self.case_id} before")
            # The record first: files without a record would be taken for those of others.
            write_record(self.home, record)
            move_into_place(written, self.folder)
        return record

    def _mark(self, folder: Path, name: str) -> FileMark:
        return FileMark(path=f"{self.case_id}/{name}", **fingerprint(folder / name))


def others_of(home: Path, now: Collection[str], options: Mapping[str, Any]) -> list[str]:
    """Cases of earlier runs, except `now`, that were prepared with other options."""
    found = []
    for path in sorted((home / PREPARATION_FOLDER).glob("*.json")):
        if path.stem in now:
            continue
        with contextlib.suppress(DataListError):
            record = read_record(path)
            if record.options != options:
                found.append(record.case_id)
    return found


def _is_as_written(path: Path, mark: FileMark) -> bool:
    try:
        return not path.is_symlink() and has_fingerprint(path, mark.model_dump())
    except OSError:
        return False


def _has_mask(record: PreparationRecord) -> bool:
    """Whether the user's mask, if one was used, is as it was."""
    source = record.mask.source if record.mask else None
    try:
        return source is None or has_fingerprint(Path(source.path), source.model_dump())
    except OSError:
        return False


def _has_label(record: PreparationRecord, case: Case) -> bool:
    """Whether the case has the label map that was prepared, or neither has one."""
    if record.label_source is None or not case.label:
        return record.label_source is None and not case.label
    try:
        return has_fingerprint(case.label[0], record.label_source.model_dump())
    except OSError as error:
        raise OutputError(
            f"{case.label[0]} cannot be read ({reason(error)})", remedy="check the path"
        ) from None
