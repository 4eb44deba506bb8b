"""The one case of a path: the folder of a case, a NIfTI file or a 2D image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from volseg.cases.case import Case
from volseg.cases.channels import LABEL
from volseg.cases.identity import patient_of
from volseg.cases.layouts import Layout, layout_of
from volseg.cases.volume_case import VolumeCase
from volseg.errors import DataListError
from volseg.finding.folders import find_any_images
from volseg.finding.name_reading import read_name
from volseg.finding.stacks import IMAGE, find_stacks
from volseg.finding.wanted import Wanted
from volseg.images.bitmap import read_bitmap
from volseg.images.file_names import is_nifti, is_slice, stem
from volseg.images.nifti_reading import read_header
from volseg.images.slice_stack import is_grey

_COLOURS = ("red", "green", "blue")


def find_case(path: Path, channels: Sequence[str] = ()) -> tuple[Case, Layout]:
    """The case of a folder, of a NIfTI file or of a 2D image, and the layout of its files.

    A file is a case of its own. Its channel is that of its name, else `image`. The channels of a 4D
    file are `volume1`, `volume2` and so on; those of a coloured image `red`, `green` and `blue`.

    Args:
        path: The folder or file.
        channels: Our names of the channels to look for; none: those of BraTS.

    Raises:
        DataListError: If the folder does not hold exactly one case, or a file is missing, is no
            image or is a label map by its name.
        ImageError: If a file is damaged.
    """
    if path.is_dir():
        found = find_any_images(path, channels)
        if len(found.cases) == 1:
            return found.cases[0], found.layout_of[found.cases[0].case_id]
        names = ", ".join(case.case_id for case in found.cases[:3])
        raise DataListError(
            f"{path} holds {len(found.cases)} cases, such as {names}, but one is expected",
            remedy="give the folder or a file of one case",
            path=path,
        )
    if not path.exists():
        raise DataListError(f"{path} does not exist", remedy="give a scan", path=path)
    if is_nifti(path.name):
        return _volume(path, channels)
    if is_slice(path.name):
        return _slice(path)
    raise DataListError(
        f"{path} is no image by its name",
        remedy="give a NIfTI file (.nii, .nii.gz), a 2D image or the folder of a case",
        path=path,
    )


def _volume(path: Path, channels: Sequence[str]) -> tuple[Case, Layout]:
    read = read_name(path.name, channels)
    if LABEL in read.contents:
        raise _is_label_map(path)
    case_id = read.case or stem(path.name)
    shape = read_header(path)[1].get_data_shape()
    if math.prod(shape[3:]) > 1:
        held = tuple(f"volume{number}" for number in range(1, math.prod(shape[3:]) + 1))
    else:
        held = read.contents if len(read.contents) == 1 else IMAGE
    return VolumeCase(case_id, patient_of(case_id), (path,), tuple(held)), layout_of(case_id)


def _slice(path: Path) -> tuple[Case, Layout]:
    wanted = Wanted.of(None, None, None, None, labelled=False)
    found = find_stacks([path], path.parent, wanted)
    if not found.cases:
        raise _is_label_map(path)
    case, layout = found.cases[0]
    if case.channels == IMAGE and _has_colours(path):
        case = replace(case, channels=_COLOURS)
    return case, layout


def _has_colours(path: Path) -> bool:
    _, values = read_bitmap(path, str(path))
    return values.shape[2] >= len(_COLOURS) and not is_grey(values[..., : len(_COLOURS)])


def _is_label_map(path: Path) -> DataListError:
    return DataListError(f"{path} is a label map by its name", remedy="give the scan", path=path)
