"""Search of a folder for DICOM series: sorted by patient, study, series and volume."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from volseg.conversion.dicom.copies import copied_files, copied_series
from volseg.conversion.dicom.frames import DicomFile, read_file
from volseg.conversion.dicom.header import NoDicomError
from volseg.conversion.dicom.lost_slices import LostSlice, is_named_as_slice, lost_slices
from volseg.conversion.dicom.people import contradiction, patient_of
from volseg.conversion.dicom.scans import no_scan
from volseg.conversion.dicom.volumes import SeriesFiles, find_volumes
from volseg.conversion.series import Broken, LeftOut, Patient, SourceFinding
from volseg.errors import DataListError, ImageError
from volseg.progress import track
from volseg.words import number_of

Item = TypeVar("Item")

#: Why a file that is not DICOM is left out; the readers of other formats may know it.
NO_DICOM = "not a DICOM file"
_NO_SLICE = "is not DICOM, though named like the slices beside it; copy or export it again"
_BAR_FROM = 200


def find_dicom_series(folder: Path) -> SourceFinding:
    """Series of a folder and of all folders below it, by their headers.

    Series come in the order of patients, study dates and series numbers. A fault of a series or of
    a file is an entry of `broken`, never an exception.

    Raises:
        DataListError: If `folder` is no folder.
    """
    top = Path(os.path.normpath(folder.absolute()))
    if not top.is_dir():
        found = "is a file" if top.exists() else "does not exist"
        raise DataListError(f"{top} {found}", remedy="give a folder of DICOM files", path=top)
    read = _read(top)
    files, left_out, broken = read.files, read.left_out, read.broken
    copies = copied_files(files)
    left_out += [_copies(top, paths) for paths in _by_folder(copies.copies)]
    broken += [Broken(_name(top, path), sentence) for path, sentence in copies.contradictions]
    kept = [file for file in files if file.path not in copies.removed]
    scans = [file for file in kept if file.frames]
    left_out += _no_scans(top, [file for file in kept if not file.frames])
    finding = SourceFinding((), tuple(left_out), tuple(broken))
    lost = lost_slices(read.damaged, scans)
    for members in _grouped(scans, lambda file: patient_of(file).key).values():
        finding += _of_patient(top, members, lost)
    return copied_series(finding)


@dataclass
class _Read:
    """What the files of a folder are; `damaged` are those of `broken` that cannot be read."""

    files: list[DicomFile] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)


def _read(top: Path) -> _Read:
    read = _Read()
    others: list[Path] = []
    paths = list(_paths(top, read.broken))
    for path in _tracked(paths):
        try:
            read.files.append(read_file(path))
        except NoDicomError:
            others.append(path)
        except ImageError as error:
            read.broken.append(Broken(_name(top, path), str(error)))
            read.damaged.append(path)
    by_folder = _grouped(
        [file for file in read.files if file.frames], lambda file: file.path.parent
    )
    for path in others:
        if is_named_as_slice(path, by_folder.get(path.parent, ())):
            read.broken.append(Broken(_name(top, path), _NO_SLICE))
            read.damaged.append(path)
        else:
            read.left_out.append(LeftOut(_name(top, path), NO_DICOM))
    return read


def _tracked(paths: Sequence[Path]) -> Iterable[Path]:
    if len(paths) < _BAR_FROM:
        return paths
    return track(paths, "reading DICOM headers", len(paths))


def _paths(top: Path, broken: list[Broken]) -> Iterator[Path]:
    """Files that are not hidden; links to folders are followed, but never in a circle."""
    seen: set[Path] = set()

    def unreadable(error: OSError) -> None:
        sentence = f"folder cannot be read ({error.strerror}); change its permissions"
        broken.append(Broken(_name(top, Path(error.filename)), sentence))

    for folder, folders, names in os.walk(top, followlinks=True, onerror=unreadable):
        here = Path(folder)
        real = here.resolve()
        if real in seen:
            folders[:] = []
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (here / name for name in sorted(names) if not name.startswith("."))


def _name(top: Path, path: Path) -> str:
    return path.relative_to(top).as_posix() if path.is_relative_to(top) else str(path)


def _by_folder(paths: Iterable[Path]) -> Iterable[list[Path]]:
    return _grouped(sorted(paths), lambda path: path.parent).values()


def _copies(top: Path, paths: Sequence[Path]) -> LeftOut:
    if len(paths) == 1:
        return LeftOut(_name(top, paths[0]), "a copy of another file")
    where = _name(top, paths[0].parent)
    return LeftOut(where, f"{number_of(len(paths), 'file')} are copies of others")


def _no_scans(top: Path, files: Iterable[DicomFile]) -> Iterator[LeftOut]:
    """Files that hold no slices, by folder and kind."""
    groups = _grouped(files, lambda file: (file.path.parent, file.sop_class, file.series_uid))
    for members in groups.values():
        first = members[0]
        name = _name(top, first.path)
        if len(members) > 1:
            name = f"{_name(top, first.path.parent)}: {number_of(len(members), 'file')}"
        reason = no_scan(first.sop_class, is_list=first.path.name.upper() == "DICOMDIR")
        yield LeftOut(name, reason, patient_of(first).key)


def _of_patient(
    top: Path, files: Sequence[DicomFile], lost: Mapping[tuple[Path, str], LostSlice]
) -> SourceFinding:
    finding = SourceFinding()
    fault = contradiction(file.person for file in files)
    patient = _one_patient(files)
    for group in _series(top, files, patient):
        if fault is not None:
            sentence = (
                f"its Patient ID is that of several people: {fault} in files with this id; correct "
                "the headers, or convert the studies of each person into a folder of their own"
            )
            broken = Broken(group.name, sentence, patient.key, group.study.key)
            finding += SourceFinding(broken=(broken,))
        else:
            places = ((file.path.parent, file.series_uid) for file in group.files)
            group.lost = next((lost[place] for place in places if place in lost), None)
            finding += find_volumes(group)
    return finding


def _one_patient(files: Sequence[DicomFile]) -> Patient:
    """The patient with whatever any of the files says; spellings may differ."""
    first = patient_of(files[0])
    people = [file.person for file in files]
    return Patient(
        first.key,
        first.id,
        next((person.name for person in people if person.name), None),
        next((person.birth_date for person in people if person.birth_date), None),
        next((person.sex for person in people if person.sex), None),
    )


def _series(top: Path, files: Sequence[DicomFile], patient: Patient) -> list[SeriesFiles]:
    groups = _grouped(
        files, lambda file: (file.study.key, file.series_uid or str(file.path.parent))
    )
    found = [_series_of(top, members, patient) for members in groups.values()]
    found.sort(key=lambda group: group.order)
    used: dict[str, int] = {}
    for group in found:
        used[group.name] = used.get(group.name, 0) + 1
        if used[group.name] > 1:
            group.name += f" ({used[group.name]})"
    return found


def _series_of(top: Path, files: Sequence[DicomFile], patient: Patient) -> SeriesFiles:
    folder = Path(os.path.commonpath([file.path.parent for file in files]))
    facts = files[0].facts
    words = [_name(top, folder)] if folder != top else []
    number = "" if facts.number is None else f"series {facts.number}"
    said = ", ".join(filter(None, [number, facts.description or facts.protocol]))
    name = ": ".join([*words, said or files[0].path.name])
    return SeriesFiles(name, tuple(files), patient, files[0].study)


def _grouped(
    items: Iterable[Item], key: Callable[[Item], Hashable]
) -> Mapping[Hashable, list[Item]]:
    groups: dict[Hashable, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups
