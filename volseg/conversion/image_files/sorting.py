"""Patients and studies of image files, by the names that `volseg.finding` reads.

Every format is read as if its files were NIfTI of the same names: a name has the same case and
channel in all formats.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.cases.channels import LABEL
from volseg.cases.identity import patient_key, patient_of
from volseg.cases.layouts import OTHER
from volseg.cases.volume_case import VolumeCase
from volseg.config import CHANNELS
from volseg.finding.distinct import distinct
from volseg.finding.name_reading import read_name
from volseg.finding.name_words import Reading
from volseg.finding.naming import of_one_case
from volseg.finding.people import Found
from volseg.finding.volumes import Group, group_volumes


@dataclass(frozen=True)
class Place:
    """Where a file belongs.

    Attributes:
        case_id: Name of the examination, unique in the source.
        patient_id: Name of the person.
        contents: Channels by the name, or `LABEL`; empty: the name says none.
        notes: Assumptions about the file.
        copy_of: File with the same bytes that is used instead; None if there is none.
    """

    case_id: str
    patient_id: str
    contents: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    copy_of: Path | None = None

    @property
    def patient_key(self) -> str:
        """Key of the person, equal for all spellings of the name."""
        return patient_key(self.patient_id)


def sort_files(files: Mapping[Path, tuple[Path, ...]], top: Path) -> dict[Path, Place]:
    """Place of each volume.

    Args:
        files: Files of each volume, by a path below `top` that ends in `.nii.gz`, where no file
            need be.
        top: The source.
    """
    names = list(files)
    volumes = group_volumes(names, top, CHANNELS, None)
    groups, notes = _joined(volumes.groups)
    contents: dict[Path, tuple[str, ...]] = {
        path: (content,)
        for group in groups
        for content, paths in group.files.items()
        for path in paths
    }
    for path in names:
        if path not in contents:
            of_label = read_name(path.name, ()).contents == (LABEL,)
            contents[path] = (LABEL,) if of_label else ()
            _group_of(path, groups, top).files["?"].append(path)
    found = [_found(group, top) for group in groups]
    places: dict[Path, Place] = {}
    result = distinct(found, (), files)
    for one in (*result.kept, *result.unnamed):
        joined = (notes[one.home],) if one.home in notes else ()
        said = (*joined, *(assumed.text for assumed in one.assumed))
        for path in (*one.case.images, *one.case.label):
            # A path names an examination whose name is unfit for results or not unique.
            path_id = (one.home.relative_to(top) / one.case.case_id).as_posix()
            case_id = path_id if one in result.unnamed else one.case.case_id
            patient_id = one.case.patient_id
            places[path] = Place(case_id, patient_id, contents.get(path, ()), said)
    for path, used in result.copies.items():
        places[path] = replace(places[used], copy_of=used)
    return {path: places[path] for path in names}


def _joined(groups: Sequence[Group]) -> tuple[list[Group], dict[Path, str]]:
    """Groups in which the files of a folder whose names agree on nothing are one case."""
    homes: dict[Path, list[Group]] = defaultdict(list)
    for group in groups:
        homes[group.home].append(group)
    joined: list[Group] = []
    notes: dict[Path, str] = {}
    for home, beside in homes.items():
        read = {
            path: Reading(group.case_id if group.named else "", (content,))
            for group in beside
            for content, paths in group.files.items()
            for path in paths
        }
        one_case = of_one_case(read) if len(beside) > 1 else {}
        if not one_case:
            joined += beside
            continue
        whole = Group(home.name, home, named=False)
        for path, reading in one_case.items():
            whole.files[reading.contents[0]].append(path)
        joined.append(whole)
        notes[home] = f"{len(read)} files of one folder are taken as one examination"
    return joined, notes


def _group_of(path: Path, groups: list[Group], top: Path) -> Group:
    """The group of a file whose name says no channel; a new one if no group fits.

    It is the only group of its folder or the folder above, else the group whose name it begins
    with, else a group of its own.
    """
    for home in (path.parent, path.parent.parent):
        beside = [group for group in groups if group.home == home]
        fitting = [group for group in beside if path.name.startswith(group.case_id)]
        if len(fitting) == 1 or (len(beside) == 1 and home != top):
            return (fitting or beside)[0]
    case = read_name(path.name, ()).case
    is_of_folder = path.parent != top
    group = Group(path.parent.name if is_of_folder else case, path.parent, named=not is_of_folder)
    groups.append(group)
    return group


def _found(group: Group, top: Path) -> Found:
    """The group as a case, for names and patients; its files stand for images."""
    files = {content: paths for content, paths in group.files.items() if content != LABEL}
    paths = tuple(path for of_content in files.values() for path in of_content)
    channels = tuple(content for content, of_content in files.items() for _ in of_content)
    label = tuple(group.files.get(LABEL, ()))
    case = VolumeCase(group.case_id, patient_of(group.case_id), paths, channels, label)
    return Found(case, OTHER, group.home, group.container, top)


def is_label(place: Place) -> bool:
    """Whether the name of a file is that of a label map."""
    return LABEL in place.contents
