"""The reference: labelled cases of a data list, of a folder of cases or of label maps."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from volseg.cases.case import Case
from volseg.cases.channels import LABEL
from volseg.cases.data_list import read_data_list
from volseg.cases.identity import patient_of
from volseg.cases.layouts import DATA_LIST, layout_of
from volseg.cases.slice_stack_case import SliceStackCase
from volseg.cases.volume_case import VolumeCase
from volseg.errors import DataListError
from volseg.evaluation.label_files import slice_of, volume_files
from volseg.evaluation.predictions import mask_files
from volseg.finding.finding import Finding
from volseg.finding.folders import check_list_is_not_needed, find_any_images
from volseg.images.file_names import is_nifti, is_slice

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class References:
    """Labelled cases of the reference.

    Attributes:
        found: The cases; of their images only the names are needed.
        problems: Why a case cannot be scored, by case id.
        not_selected: Ids of the other training cases of the data list, such as of other folds.
        unusable: Why a case with labels was left out, by case id.
        is_list: Whether the reference is a data list.
    """

    found: Finding
    problems: dict[str, str] = field(default_factory=dict)
    not_selected: frozenset[str] = frozenset()
    unusable: Mapping[str, str] = field(default_factory=dict)
    is_list: bool = False


def find_references(
    reference: Path, fold: int | None, data_root: Path | None, channels: Sequence[str] = ()
) -> References:
    """Labelled cases of a data list, of a folder of cases or of a folder of label maps.

    Args:
        reference: The data list or the folder.
        fold: Fold of the data list to use; None: all cases.
        data_root: Folder that the paths of a data list start from; None: from the list.
        channels: Channels of the predictions; in a folder, their images are looked for.

    Raises:
        DataListError: If there is no labelled case.
    """
    if reference.is_file():
        if is_nifti(reference.name) or is_slice(reference.name):
            raise DataListError(
                f"{reference} is an image, but a reference is a folder or a data list",
                remedy="give the folder that holds it",
            )
        listed = read_data_list(reference, data_root)
        cases = [case for case in listed.cases(fold) if case.label]
        names = {case.case_id for case in cases}
        references = References(
            Finding.of(cases, (), dict.fromkeys(names, DATA_LIST)),
            not_selected=frozenset(case.case_id for case in listed.training) - names,
            is_list=True,
        )
    else:
        check_list_is_not_needed(reference, fold, data_root)
        if not reference.is_dir():
            raise DataListError(
                f"{reference} does not exist", remedy="give a data list or a folder"
            )
        references = _labelled_in_folder(reference, channels)
    if not references.found.cases:
        raise DataListError(
            f"{reference} has no case with a label map", remedy="give cases with label maps"
        )
    return references


def _labelled_in_folder(folder: Path, channels: Sequence[str]) -> References:
    try:
        found = find_any_images(folder, channels)
    except DataListError:
        found = Finding.of((), (), {})
    cases = [case for case in found.cases if case.label]
    # Scoring needs no images: label maps of cases with missing images count as well.
    volumes = volume_files(folder)
    files = [file for file in volumes if file.is_named]
    if not (cases or files):
        files = [file for file in volumes if file.path.parent == folder]
    known = {path.resolve() for case in cases for path in case.label}
    alone: list[Case] = [
        VolumeCase(file.case_id, patient_of(file.case_id), (), (), (file.path,))
        for file in files
        if file.path.resolve() not in known
    ]
    if not (cases or alone):
        alone = [*_stacks_of_masks(folder)]
    references = _merged([*cases, *alone], found)
    usable = {case.case_id for case in references.found.cases}
    unusable = {}
    for skipped in found.skipped:
        if skipped.case_id is not None and skipped.case_id not in usable:
            logger.warning("left out of the reference: %s: %s", skipped.path, skipped.sentence)
            # Label maps of volumes were taken above, with or without their images.
            if not volume_files(skipped.path if skipped.path.is_dir() else skipped.path.parent):
                unusable[skipped.case_id] = f"reference: {skipped.sentence}"
    return replace(references, unusable=unusable)


def _stacks_of_masks(folder: Path) -> list[SliceStackCase]:
    """Cases of 2D masks without images, in folders as `infer` writes them.

    Each folder of masks is a case, and each mask directly in `folder`.
    """
    paths = mask_files(folder)
    # If some files are named as masks, the other files are images.
    masks = [path for path in paths if slice_of(path.name) != path.stem] or paths
    stacks: dict[str, dict[Path, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in masks:
        if path.parent == folder:
            stacks[slice_of(path.name)][path].append(path)
        else:
            stacks[path.parent.name][path.parent].append(path)
    return [
        # The masks stand in for the images: both have the same number and names.
        SliceStackCase(case_id, patient_of(case_id), tuple(files), (LABEL,), tuple(files))
        for case_id, homes in stacks.items()
        for files in homes.values()
    ]


def _merged(cases: Iterable[Case], found: Finding) -> References:
    """References with each case once; a case that was found twice gets a problem."""
    merged: dict[str, Case] = {}
    problems: dict[str, str] = {}
    layouts = dict(found.layout_of)
    for case in cases:
        first = merged.setdefault(case.case_id, case)
        layouts.setdefault(case.case_id, layout_of(case.case_id))
        if first is not case:
            problem = f"{first.label[0]} and {case.label[0]} belong to the same case; keep one"
            problems.setdefault(case.case_id, problem)
    return References(Finding.of(merged.values(), (), layouts), problems)
