"""List of the files below a folder by kind, before they are sorted into cases."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from volseg.errors import DataListError
from volseg.files.ownership import CONVERSION_FILE, PREPARATION_FOLDER, TIME_POINTS_FILE
from volseg.finding.dataset_json import FILE_NAME, Description, read_description
from volseg.finding.finding import Skipped
from volseg.finding.own_results import written_by_volseg
from volseg.finding.skipped import no_image
from volseg.finding.stacks import is_mask
from volseg.images.file_names import is_nifti, is_slice

_IMAGE_FOLDERS = ("imagesTr", "imagesTs")
_LABEL_FOLDERS = ("labelsTr", "labelsTs")
_WRITTEN = "written by volseg"
_BESIDE_CASES = {CONVERSION_FILE, TIME_POINTS_FILE, PREPARATION_FOLDER}


@dataclass(frozen=True)
class DataSet:
    """A data set with a `dataset.json`.

    Attributes:
        folder: Folder of the `dataset.json`.
        description: Content of the `dataset.json`.
        parts: Image files and label map files by folder: `imagesTr`, `imagesTs`.
    """

    folder: Path
    description: Description
    parts: Mapping[str, tuple[Sequence[Path], Sequence[Path]]]


@dataclass
class Listing:
    """Files below a folder, in an order that does not depend on the locale.

    Attributes:
        top: Folder that is listed.
        volumes: NIfTI files.
        slices: 2D images.
        data_sets: Data sets with a `dataset.json`; their files are not among `volumes`.
        is_described: Whether a `dataset.json` lies beside NIfTI files.
        strays: `(reason, file)` of left-out files.
        skipped: Left-out folders and data sets.
    """

    top: Path
    volumes: list[Path] = field(default_factory=list)
    slices: list[Path] = field(default_factory=list)
    data_sets: list[DataSet] = field(default_factory=list)
    is_described: bool = False
    strays: list[tuple[str, Path]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path) -> Self:
        """List the files of a folder and of all folders below it; links to folders are followed.

        Raises:
            DataListError: If `folder` is no folder.
        """
        top = Path(os.path.normpath(folder.absolute()))
        if not top.is_dir():
            found = "is a file" if top.exists() else "does not exist"
            raise DataListError(f"{top} {found}", remedy="give a folder of scans", path=top)
        listing = cls(top)
        if top.name in _IMAGE_FOLDERS and (top.parent / FILE_NAME).is_file():
            listing.add_data_set(top.parent, (top.name,))
        else:
            listing.walk()
        return listing

    def walk(self) -> None:
        """Add the files below `top`."""
        for folder, folders, files in os.walk(self.top, followlinks=True, onerror=self._unreadable):
            here = Path(folder)
            folders[:] = [name for name in _visible(folders) if not self._is_loop(here / name)]
            self._leave_out_written(here, folders, files)
            if FILE_NAME in files:
                files.remove(FILE_NAME)
                parts = [name for name in _IMAGE_FOLDERS if name in folders]
                done = self.add_data_set(here, parts)
                folders[:] = [name for name in folders if name not in done]
            for path in (here / name for name in _visible(files)):
                if is_nifti(path.name):
                    self.volumes.append(path)
                elif is_slice(path.name):
                    self.slices.append(path)
                else:
                    self.strays.append((no_image(path.name), path))

    def add_data_set(self, folder: Path, parts: Sequence[str]) -> Sequence[str]:
        """List a data set with a `dataset.json`; returns the names of folders that it covers."""
        file = folder / FILE_NAME
        images = {part: self._files_in(folder / part) for part in parts}
        names = [path.name for paths in images.values() for path in paths if is_nifti(path.name)]
        self.is_described |= bool(names)
        try:
            description = read_description(file, names)
        except DataListError as error:
            self.skipped.append(Skipped(file, error.without_case))
            return ()
        labels = {part: self._files_in(folder / part.replace("images", "labels")) for part in parts}
        found = {part: (images[part], labels[part]) for part in parts}
        self.data_sets.append(DataSet(folder, description, found))
        return (*_IMAGE_FOLDERS, *_LABEL_FOLDERS)

    def _leave_out_written(self, here: Path, folders: list[str], files: list[str]) -> None:
        """Remove names of files that volseg wrote, as the next run would segment these files."""
        # Masks in folders named so are no images, and may be meant as label maps.
        written = {name for name in written_by_volseg(here, files) if not is_mask(here / name)}
        # Those of a folder of cases are no results, and nobody expects scans in them.
        named = (written & {*folders, *files}) - _BESIDE_CASES
        self.strays += [(_WRITTEN, here / name) for name in sorted(named)]
        for names in (folders, files):
            names[:] = [name for name in names if name not in written]

    def _files_in(self, folder: Path) -> list[Path]:
        try:
            return [folder / name for name in _visible(path.name for path in folder.iterdir())]
        except FileNotFoundError:
            return []
        except OSError as error:
            self._unreadable(error)
            return []

    def _unreadable(self, error: OSError) -> None:
        reason = f"folder cannot be read ({error.strerror or error})"
        self.skipped.append(Skipped(Path(error.filename), reason))

    def _is_loop(self, folder: Path) -> bool:
        loop = folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())
        if loop:
            self.skipped.append(Skipped(folder, "link to a folder that it lies in"))
        return loop


def _visible(names: Iterable[str]) -> list[str]:
    """Names that are not hidden, in an order that does not depend on the locale."""
    return sorted(name for name in names if not name.startswith("."))
