"""Cases given by their files: one file for each channel, one for all channels, or slices."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from volseg.cases.case import Case
from volseg.cases.channels import LABEL, channel_among
from volseg.cases.identity import unfit_name
from volseg.cases.kinds import kind_of
from volseg.cases.layouts import Layout
from volseg.cases.slice_stack_case import SliceStackCase, checked_spacing
from volseg.errors import ConfigError, DataListError
from volseg.files.paths import PathLike
from volseg.finding.finding import Finding
from volseg.finding.name_reading import read_name
from volseg.finding.naming import Naming
from volseg.finding.stacks import find_stacks
from volseg.finding.wanted import Wanted
from volseg.images.file_names import is_nifti, is_slice, stem
from volseg.images.nifti_reading import read_header
from volseg.words import shown

logger = logging.getLogger(__name__)


#: Layout of cases whose files the user names.
NAMED_FILES = Layout("files named by the user", "", "")


def is_image_file(path: Path) -> bool:
    """Whether a path has the name of an image and is no folder."""
    return (is_nifti(path.name) or is_slice(path.name)) and not path.is_dir()


def with_spacing(finding: Finding, spacing_mm: Sequence[float] | None) -> Finding:
    """Cases with the voxel size given by the user; ConfigError if files or lists hold one."""
    if spacing_mm is None:
        return finding
    sizes = checked_spacing(spacing_mm)
    for case in finding.cases:
        if not case.slices or case.spacing_mm not in (None, sizes):
            said = ",".join(f"{mm:g}" for mm in case.spacing_mm or ())
            where = f"in the data list, {said}" if case.slices else "in its header"
            raise ConfigError(
                "--spacing is for 2D slices of unknown voxel size, but the size of "
                f"{case.case_id} is {where}",
                remedy="leave it out",
            )
    return replace(finding, cases=tuple(case.with_spacing(sizes) for case in finding.cases))


def case_of_channels(images: Mapping[str, PathLike], known: Collection[str]) -> Case:
    """The case of files given by channel.

    Args:
        images: File of each channel; or one 4D file under its channels in order, joined by commas.
        known: Channels of the model; these names have no other meaning.

    Raises:
        DataListError: If a channel or a file is given twice, or the files form no case, or the
            case has an unfit name; see `unfit_name`.
    """
    paths = tuple(Path(path).absolute() for path in images.values())
    _check_paths(paths)
    names = [name for key in images for name in key.split(",")]
    if len(paths) > 1 and is_slice(paths[0].name):
        raise DataListError(
            f"{paths[0]} is a 2D image, which holds all channels of a slice, but "
            f"{len(paths)} images are given by channel",
            remedy="give their folder, or a case",
        )
    if len(paths) > 1 and len(names) > len(paths):
        raise DataListError(
            f"{len(paths)} files are given for the channels {' '.join(names)}",
            remedy="give one file for each channel, or one 4D file for all",
        )
    channels = tuple(channel_among(name, known) for name in names)
    if len(set(channels)) < len(channels):
        raise DataListError(
            f"{' '.join(names)} are the channels {' '.join(channels)}",
            remedy="give each channel once",
        )
    if len({path.resolve() for path in paths}) < len(paths):
        raise DataListError(
            f"one file is given for two of the channels {' '.join(names)}",
            remedy="give a file of its own for each channel",
        )
    case_id = _checked_id(_case_id(paths, known), paths)
    return kind_of([path.name for path in paths])(case_id, case_id, paths, channels)


def case_of_files(
    images: Sequence[PathLike],
    known: Sequence[str],
    required: Sequence[str],
    naming: Naming | None = None,
) -> Case:
    """The case of some files: volumes whose names hold their channels, or slices in this order.

    Args:
        images: One file or more.
        known: Channels of the model.
        required: Channels that the model needs.
        naming: Patterns for file names that volseg does not know.

    Raises:
        DataListError: If a file name holds no channel and several channels are possible, or the
            files form no case or several cases, or the case has an unfit name.
    """
    paths = [Path(path).absolute() for path in images]
    _check_paths(paths)
    if all(is_slice(path.name) for path in paths):
        return _case_of_slices(paths, known, required)
    for path in paths:
        if not is_nifti(path.name):
            raise DataListError(
                f"{path} is no image by its name",
                remedy="give NIfTI files (.nii, .nii.gz), or only 2D images",
                path=path,
            )
    if len(paths) == 1:
        return case_of_channels(
            {_channel_of_one(paths[0], known, required, naming): paths[0]}, known
        )
    channels = []
    for path in paths:
        named = _named_channel(path, known, naming)
        if named is None:
            raise DataListError(
                f"the name of {path} holds no channel", remedy="name the channel of each file"
            )
        channels.append(named)
    if len(set(channels)) < len(channels):
        raise DataListError(
            f"files of the channels {' '.join(channels)} are given",
            remedy="give one file for each channel",
        )
    return case_of_channels(dict(zip(channels, paths, strict=True)), known)


def _channel_of_one(
    path: Path, known: Sequence[str], required: Sequence[str], naming: Naming | None
) -> str:
    """Channel of a single file: from its name, else the only channel that the model needs."""
    volumes = read_header(path)[1].get_data_shape()[3:]
    if any(count > 1 for count in volumes):
        count = " x ".join(map(str, volumes))
        order = ",".join(known)
        raise DataListError(
            f"{path} holds {count} volumes, but no file names their channels",
            remedy=f"name them in order, such as --image {order}=FILE, or give the data set with "
            "its dataset.json",
            path=path,
        )
    channel = _named_channel(path, known, naming)
    if channel is None and not required:
        raise DataListError(
            f"{path} may hold {' or '.join(known)}: its name holds no channel",
            remedy=f"name it, such as --image {known[0]}=FILE",
            path=path,
        )
    if channel is None and len(required) > 1:
        raise DataListError(
            f"{path} is one image, but the model needs channels {' '.join(required)}",
            remedy="give the folder of the case, or name the file of each channel",
            path=path,
        )
    if channel is None:
        logger.warning("%s is taken for %s, the channel that the model needs", path, required[0])
    return channel or required[0]


def _named_channel(path: Path, known: Sequence[str], naming: Naming | None) -> str | None:
    """Channel in the name of a file, or None; DataListError if it is a label map."""
    reading = read_name(path.name, known)
    reading = naming.by_our_names().read(Path(path.name), reading) if naming else reading
    contents = reading.contents
    if LABEL in contents:
        raise DataListError(
            f"{path} is a label map by its name", remedy="give the images", path=path
        )
    return channel_among(contents[0], known) if len(contents) == 1 else None


def _case_of_slices(paths: Sequence[Path], known: Sequence[str], required: Sequence[str]) -> Case:
    top = Path(os.path.commonpath([path.parent for path in paths]))
    wanted = Wanted.of(known, required, None, None, labelled=False)
    found = find_stacks(paths, top, wanted)
    for reason, path in [
        (skipped.reason, skipped.path) for skipped in found.skipped
    ] + found.strays:
        raise DataListError(f"{path}: {reason}", path=path)
    cases = [wanted.spelled(case) for case, _ in found.cases]
    if len(cases) == 1:
        _checked_id(cases[0].case_id, paths)
        return cases[0]
    if len({case.channels for case in cases}) > 1 or any(len(case.images) > 1 for case in cases):
        names = ", ".join(case.case_id for case in cases[:3])
        raise DataListError(
            f"{len(paths)} images are of {len(cases)} cases, such as {names}",
            remedy="give the images of one case",
        )
    case_id = _checked_id(top.name, paths)
    return SliceStackCase(case_id, case_id, tuple(paths), cases[0].channels)


def _check_paths(paths: Sequence[Path]) -> None:
    if not paths:
        raise DataListError("no image is given", remedy="give the images of a case")
    if any("\0" in str(path) for path in paths):
        raise DataListError(
            f"images are {shown(list(map(str, paths)))}, but no file can have a name with NUL",
            remedy="correct it",
        )


def _checked_id(case_id: str, paths: Sequence[Path]) -> str:
    """The id of the case of these files; DataListError if it is unfit for a case."""
    if unfit := unfit_name(case_id):
        raise DataListError(
            f"the case of {shown(str(paths[0]))} is named {shown(case_id)} by its files, but this "
            f"name {unfit}",
            remedy="rename the files or their folder",
            path=paths[0],
        )
    return case_id


def _case_id(paths: Sequence[Path], known: Collection[str]) -> str:
    """Common case id in the file names, else the name of the folder or of the single file."""
    named = {read_name(path.name, known).case for path in paths if is_nifti(path.name)}
    if len(named) == 1 and (case_id := named.pop()):
        return case_id
    return stem(paths[0].name) if len(paths) == 1 else paths[0].parent.name
