"""The scans of a case, whatever its files are: its images, its label map, its grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from volseg.cases.case import Case
from volseg.errors import DataListError
from volseg.images import nifti, slice_masks, slice_stack
from volseg.images.background import background_of, described, not_stripped, thinned
from volseg.images.grid import Grid
from volseg.images.nifti import CaseImages


def read_images(case: Case, channels: Sequence[str], fill: str | None = None) -> CaseImages:
    """Read the images of a case.

    Args:
        case: The case.
        channels: What to read, in this order.
        fill: Channel that stands in for one that is missing; None: that is an error. A channel
            that equals this one in every voxel is missing as well: data sets are filled up so.

    Returns:
        The images; `missing` names the channels that `fill` stands in for.

    Raises:
        ImageError: If a channel is missing, or its file is missing, damaged, of another kind,
            holds NaN or infinite voxels, or is constant.
        GeometryError: If the files do not lie on one grid.
    """
    present = [name for name in channels if fill is None or name in (fill, *case.channels)]
    if case.is_stack:
        images = slice_stack.read_stack(
            case.case_id, case.images, case.channels, present, case.spacing_mm
        )
    else:
        images = nifti.read_case(case.case_id, case.images, case.channels, present)
    return images if fill is None else _filled(images, present, channels, fill)


def read_grid(case: Case, channels: Sequence[str], fill: str | None = None) -> Grid:
    """Grid that `read_images` would find, and its errors as far as the headers tell."""
    present = [name for name in channels if fill is None or name in (fill, *case.channels)]
    if case.is_stack:
        return slice_stack.read_stack_grid(
            case.case_id, case.images, case.channels, present, case.spacing_mm
        )
    return nifti.read_case_grid(case.case_id, case.images, case.channels, present)


def read_reference(case: Case) -> tuple[npt.NDArray[np.uint8], Grid]:
    """Label map (I, J, K) of a case, and its grid.

    Raises:
        DataListError: If the case has no label map.
        ImageError: If a file is missing, damaged or of another kind.
        LabelError: If it holds anything but integers from 0 to 255.
    """
    if not case.label:
        raise DataListError(f"case {case.case_id} has no label map", remedy="move it to 'testing'")
    if case.is_stack:
        return slice_masks.read_stack_label_map(case.label, case.spacing_mm)
    return nifti.read_label_map(case.label[0])


def read_reference_grid(case: Case) -> Grid:
    """Grid that `read_reference` would find, and its errors as far as the headers tell."""
    if case.is_stack:
        return slice_masks.read_stack_label_grid(case.label, case.spacing_mm)
    what = ["label map"]
    return nifti.read_case_grid(case.case_id, case.label, what, what)


def grey_value_notes(case: Case) -> list[str]:
    """What is odd about the background of a case of volumes, a clause each.

    Raises:
        VolsegError: If it cannot be read.
    """
    if case.is_stack:
        return []
    images = read_images(case, case.channels)
    about: dict[str, list[str]] = {}
    share = 0.0
    for name, channel in zip(case.channels, images.array, strict=True):
        background = background_of(channel)
        about.setdefault(described(background), []).append(name)
        share = max(share, float(1 - background.holds(thinned(channel)).mean()))
    notes = [f"{', '.join(names)}: {note}" for note, names in about.items() if note]
    grid = images.grid
    too_large = not_stripped(share * math.prod(grid.shape) * grid.voxel_ml)
    return [*notes, too_large] if too_large else notes


def _filled(
    images: CaseImages, present: Sequence[str], channels: Sequence[str], fill: str
) -> CaseImages:
    """The images of all `channels`, with `fill` in the place of those that are missing."""
    array = images.array
    filler = array[present.index(fill)]
    copies = [
        name
        for number, name in enumerate(present)
        if name != fill and np.array_equal(array[number], filler)
    ]
    absent = [name for name in channels if name not in present]
    missing = tuple(name for name in channels if name in (*copies, *absent))
    if absent:
        # The axes stay in the order of the file, K outermost.
        files = [present.index(name if name in present else fill) for name in channels]
        array = array.transpose(0, 3, 2, 1)[files].transpose(0, 3, 2, 1)
    notes = images.notes
    if missing:
        notes = (*notes, f"{', '.join(missing)} missing: {fill} stands in")
    return replace(images, array=array, missing=missing, notes=notes)
