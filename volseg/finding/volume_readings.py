"""Readings of NIfTI files by their names, the names beside them, and their folders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from volseg.cases.channels import LABEL
from volseg.cases.layouts import is_mask_of_tumour
from volseg.finding.bids_names import is_bids
from volseg.finding.name_reading import (
    read_folder,
    read_name,
    read_numbered_name,
    unknown_channel,
)
from volseg.finding.name_words import Reading
from volseg.finding.naming import Naming
from volseg.images.file_names import stem

NUMBERED = "a numbered channel, but no dataset.json says which"

_OF_BIDS = ("anat", "dwi", "perf", "pet", "ct", "swi")
#: Names of folders for a kind of file, not for a case.
KINDS = frozenset((*_OF_BIDS, "nifti", "nii", "images", "image", "imgs", "img"))


def read_volumes(
    paths: Sequence[Path], top: Path, channels: Collection[str], naming: Naming | None
) -> dict[Path, Reading]:
    """Reading of each file; if a name has two meanings, the names beside it decide.

    Args:
        paths: NIfTI files below `top`.
        top: Folder that is searched.
        channels: Contrasts to look for.
        naming: Patterns of file names given by the user.
    """
    readings: dict[Path, Reading] = {}
    for members in _by_folder(paths).values():
        readings |= _decided({path: _read(path, top, channels, naming) for path in members})
    return readings


def why_unread(path: Path, reading: Reading, channels: Iterable[str]) -> str:
    """Reason to leave out a file whose reading has no contents; `channels` were looked for."""
    if reading.problem:
        return reading.problem
    return NUMBERED if read_numbered_name(path.name) else unknown_channel(channels)


def _by_folder(paths: Iterable[Path]) -> dict[Path, list[Path]]:
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        folders[path.parent].append(path)
    return folders


def _read(path: Path, top: Path, channels: Collection[str], naming: Naming | None) -> Reading:
    read = read_name(path.name, channels)
    if is_mask_of_tumour(stem(path.name), path.parts):
        read = Reading("", (LABEL,))
    if not is_bids(path.name):
        read = read_folder(_folder_of_contents(path, top), read)
    return read if naming is None else naming.read(path.relative_to(top), read)


def _folder_of_contents(path: Path, top: Path) -> str:
    """Name of the nearest folder that is not for a kind of file, such as `anat` or `nifti`."""
    folder = path.parent
    while folder.name.casefold() in KINDS and folder != top:
        folder = folder.parent
    return folder.name


def _decided(read: Mapping[Path, Reading]) -> dict[Path, Reading]:
    """Readings in which names with two meanings are decided by the names beside them."""
    clear = [one for one in read.values() if one.contents and one.other is None]
    cases = {one.case for one in clear if one.contents != (LABEL,)}
    held = {(one.case, one.contents) for one in read.values() if one.contents}
    decided = {path: _decide(one, cases, held) for path, one in read.items()}
    after = {one.case for one in decided.values() if one.contents == ("t1c",)}
    return {
        path: Reading(
            one.case,
            problem=f"{one.doubt}; if it is T1 without the agent, give --name t1n=GLOB",
        )
        if one.doubt and one.case not in after
        else one
        for path, one in decided.items()
    }


def _decide(
    one: Reading, cases: Collection[str], held: Collection[tuple[str, tuple[str, ...]]]
) -> Reading:
    if one.other is None:
        return one
    case, content = one.other
    if case in cases and (not one.contents or one.case not in cases):
        return Reading(case, (content,))
    # T1 with and T1 without contrast agent in one case make each other clear.
    pair = {(one.case, ("t1n",)), (one.case, ("t1c",))} <= set(held)
    if one.contents and case not in cases and (one.case in cases or pair):
        return Reading(one.case, one.contents)
    if not one.contents:
        return one
    said = "the time of the examination or the contrast agent"
    return Reading(one.case, problem=f"a word of the name may mean {said}")
