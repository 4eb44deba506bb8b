"""NIfTI files sorted into cases by names and folders, with label maps from other folders."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from volseg.cases.channels import LABEL
from volseg.finding.finding import Skipped
from volseg.finding.name_reading import read_name
from volseg.finding.name_words import Reading
from volseg.finding.naming import Naming, of_named_folder, of_one_case, why_no_cases
from volseg.finding.volume_readings import KINDS, read_volumes, why_unread

LONE_LABEL = "label map without images"

_LABELS = frozenset(
    (
        "labels",
        "label",
        "masks",
        "mask",
        "seg",
        "segs",
        "segm",
        "segmentation",
        "segmentations",
        "gt",
    )
)
_ROLES = KINDS | _LABELS | {"structural", "annotations"}
_BIDS_FOLDER = re.compile(r"(?:sub|ses)-.+|rawdata|sourcedata", re.IGNORECASE)

#: Files of a case by channel or `LABEL`; a 4D file is an entry of each of its channels.
Files = dict[str, list[Path]]


@dataclass
class Group:
    """Files that seem to belong to one case.

    Attributes:
        case_id: Id of the case.
        home: Folder of the case, perhaps shared with other cases.
        named: Whether the id is in the names of the files; else it is the name of the folder.
        files: Files by content.
    """

    case_id: str
    home: Path
    named: bool
    files: Files = field(default_factory=lambda: defaultdict(list))

    @property
    def container(self) -> Path:
        """Folder around the case, which may be the folder of a patient."""
        own = not self.named or self.home.name == self.case_id
        return self.home.parent if own else self.home


@dataclass
class Volumes:
    """Groups of NIfTI files.

    Attributes:
        groups: Files grouped by case.
        strays: `(reason, file)` of left-out files.
        refused: Left-out folders.
        notes: Assumptions about the files.
        held: Channels and `LABEL`, as far as any file has their name.
    """

    groups: list[Group] = field(default_factory=list)
    strays: list[tuple[str, Path]] = field(default_factory=list)
    refused: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    held: set[str] = field(default_factory=set)


def group_volumes(
    paths: Sequence[Path], top: Path, channels: Collection[str], naming: Naming | None
) -> Volumes:
    """Sort NIfTI files into cases; no file is opened.

    Args:
        paths: NIfTI files below `top`.
        top: Folder that is searched.
        channels: Contrasts to look for.
        naming: Patterns of file names given by the user.
    """
    found = Volumes()
    readings = read_volumes(paths, top, channels, naming)
    for path, reading in readings.items():
        if not reading.contents:
            found.strays.append((why_unread(path, reading, channels), path))
    known = {path: reading for path, reading in readings.items() if reading.contents}
    found.held = {content for reading in known.values() for content in reading.contents}
    groups: dict[tuple[Path, str], Group] = {}
    below = _contents_below(known, top)
    homes = {folder: _home(folder, top, below) for folder in {path.parent for path in known}}
    if naming is not None:
        known = _with_names_given(known, homes, naming, found)
    else:
        known = _with_names_of_folders(known, homes, found)
    for path, reading in known.items():
        home = homes[path.parent]
        case_id = reading.case or home.name
        group = groups.setdefault((home, case_id), Group(case_id, home, bool(reading.case)))
        group.named &= bool(reading.case)
        group.files[reading.contents[0]].append(path)
    found.groups = _with_label_maps(list(groups.values()), top, found)
    return found


def _with_names_given(
    known: Mapping[Path, Reading], homes: Mapping[Path, Path], naming: Naming, found: Volumes
) -> dict[Path, Reading]:
    """Readings in which files that the user names, and files beside them, form cases."""
    kept: dict[Path, Reading] = {}
    called: dict[Path, int] = {}
    for home, read in _beside(known, homes).items():
        named = any(one.contents[0] in naming.globs for one in read.values())
        of_folder = of_one_case(read) if named else {}
        if named and (problem := why_no_cases(read, naming)):
            name = home.name
            found.refused.append(Skipped(home, problem, name))
            continue
        if len({one.case for one in read.values()}) > 1 and of_folder:
            called[home] = len(of_folder)
        kept |= {**read, **of_folder}
    if called:
        home, number = next(iter(called.items()))
        where = f"{number} files of {home}" + f" and of {len(called) - 1} more" * (len(called) > 1)
        found.notes.append(f"by --name, {where} are taken as one case, named after its folder")
    return kept


def _with_names_of_folders(
    known: Mapping[Path, Reading], homes: Mapping[Path, Path], found: Volumes
) -> dict[Path, Reading]:
    """Readings in which files whose names all hold the name of their folder form one case."""
    kept: dict[Path, Reading] = {}
    for home, read in _beside(known, homes).items():
        of_folder = of_named_folder(read, home.name)
        if of_folder:
            found.notes.append(
                f"{len(of_folder)} files of {home} are taken as one case: each name holds "
                f"{home.name}, and each is of another channel"
            )
        kept |= {**read, **of_folder}
    return kept


def _beside(
    known: Mapping[Path, Reading], homes: Mapping[Path, Path]
) -> dict[Path, dict[Path, Reading]]:
    beside: dict[Path, dict[Path, Reading]] = defaultdict(dict)
    for path, reading in known.items():
        beside[homes[path.parent]][path] = reading
    return beside


def _contents_below(read: Mapping[Path, Reading], top: Path) -> dict[Path, set[str]]:
    """Contents of the files in each folder, at any depth."""
    beside: dict[Path, set[str]] = defaultdict(set)
    for path, reading in read.items():
        beside[path.parent].update(reading.contents)
    below: dict[Path, set[str]] = defaultdict(set)
    for folder, contents in beside.items():
        for above in (folder, *folder.parents):
            below[above] |= contents
            if above == top:
                break
    return below


def _home(folder: Path, top: Path, below: Mapping[Path, set[str]]) -> Path:
    """Folder of a case: the nearest that is not for a kind of file, such as `anat` or `1_T1`."""
    while folder != top and _is_of_a_kind(folder.name, below[folder]):
        folder = folder.parent
    return folder


def _is_of_a_kind(name: str, contents: Collection[str]) -> bool:
    if name.casefold() in KINDS:
        return True
    reading = read_name(name, ())
    kind = LABEL if name.casefold() in _LABELS else "".join(reading.contents)
    bare = name.casefold() in _LABELS or not reading.case or reading.case.isdecimal()
    mask = re.fullmatch(r"\d+_mask", name, re.IGNORECASE)
    return set(contents) == {LABEL if mask else kind} and (bare or mask is not None)


def _with_label_maps(groups: list[Group], top: Path, found: Volumes) -> list[Group]:
    """Groups with images, with label maps from other folders; unmatched label maps are strays."""
    with_images = [group for group in groups if set(group.files) != {LABEL}]
    bare: dict[tuple[object, ...], list[Group]] = defaultdict(list)
    in_folder: dict[Path, list[Group]] = defaultdict(list)
    for group in with_images:
        in_folder[group.home].append(group)
        if LABEL not in group.files:
            bare[_place(group, top)].append(group)
    given: list[tuple[Group, Path]] = []
    for group in groups:
        if set(group.files) != {LABEL}:
            continue
        beside = in_folder[group.home]
        own = len(beside) == 1 and not beside[0].named and LABEL not in beside[0].files
        targets = beside if own else bare[_place(group, top)]
        if len(targets) == 1:
            given += [(targets[0], path) for path in group.files[LABEL]]
        else:
            found.strays += [(_lone(targets), path) for path in group.files[LABEL]]
    for target, path in given:
        target.files[LABEL].append(path)
    return with_images


def _lone(targets: Sequence[Group]) -> str:
    if not targets:
        return LONE_LABEL
    homes = " and ".join(str(group.home) for group in targets[:2])
    return f"label map of one of several cases of this name, in {homes}; put it beside the images"


def _place(group: Group, top: Path) -> tuple[object, ...]:
    """Key that images and label map of a case share: its name and the folders around it."""
    case_id = group.case_id.casefold()
    parts: list[str] = []
    names = iter(group.home.relative_to(top).parts)
    for name in names:
        if name.casefold() == "derivatives":
            next(names, None)  # the name of a pipeline
            continue
        words = re.split(r"[_.\- ]+", name.casefold())
        if not (
            _ROLES & set(words)
            or name.casefold().startswith(case_id)
            or _BIDS_FOLDER.fullmatch(name)
        ):
            parts.append(name)
    return (case_id, *parts)
