"""Brain masks of the user: a folder with a file for each case."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from volseg.errors import BrainMaskError
from volseg.images.case_images import check_values
from volseg.images.grid import Grid
from volseg.images.nifti_file import inspect_nifti
from volseg.preparation.alignment import Aligned
from volseg.preparation.brain_mask.finding import METHODS
from volseg.preparation.foreground import outline_of
from volseg.preparation.grids import Mask, on_grid
from volseg.preparation.label_maps import channel_of_grid
from volseg.preparation.sources import Source
from volseg.preparation.volume import Volume

_ENDINGS = ("", *(f"{a}{b}" for a in "-_" for b in ("mask", "brainmask", "brain_mask")))
# Least share of a mask in the outline of the head. On a real head in four channels, a true mask
# has 100 %, and 71 to 93 % when moved by 48 mm to any side but down; down into the neck, 100 %.
_LEAST_IN_HEAD = 0.95
# A mask may be wider than the brain of a stripped scan: by 3 mm all round, 85 % of it lie within.
# On a phantom, at most 81 % are left of a mask moved by 20 mm, and 66 % by 48 mm.
_LEAST_IN_BRAIN = 0.75
_SUFFIXES = (".nii.gz", ".nii")


def is_masks_folder(method: str) -> bool:
    """Whether a method is a folder of masks; the words for methods are none."""
    return bool(method) and method not in METHODS and Path(method).is_dir()


def mask_file(folder: str, case_id: str) -> Path:
    """The mask of a case in a folder, such as `CASE.nii.gz` or `CASE_brainmask.nii.gz`.

    Raises:
        BrainMaskError: If there is none, or several.
    """
    names = [f"{case_id}{ending}{suffix}" for ending in _ENDINGS for suffix in _SUFFIXES]
    found = [path for name in names if (path := Path(folder, name)).is_file()]
    if len(found) != 1:
        held = f"has {' and '.join(path.name for path in found)}" if found else "has no mask"
        raise BrainMaskError(
            f"the folder of brain masks {folder} {held} of this case",
            remedy=f"name one file {case_id}.nii.gz or {case_id}-mask.nii.gz",
        )
    return found[0]


def own_mask(
    path: Path,
    channels: Mapping[str, Source],
    places: Mapping[str, Aligned],
    reference: str,
    onto: Grid,
) -> tuple[Mask, str]:
    """A mask in a file, on another grid, and a note on its channel, empty if there is none.

    Args:
        path: NIfTI file on the grid of a channel; every voxel that is not 0 is brain.
        channels: Channels in their files.
        places: Where they lie in the world of the reference channel.
        reference: Name of the reference channel.
        onto: Grid of the result, in the world of the reference channel.

    Raises:
        BrainMaskError: If it is empty, holds the whole grid or probabilities, or lies beside the
            head.
        GeometryError: If no channel has its grid, or several that were moved differently.
        ImageError: If it cannot be read.
    """
    what = f"the brain mask {path.name}"
    volume = _read(path, what)
    channel, note = channel_of_grid(what, volume.grid, channels, places, reference)
    _check_place(what, volume.values, channel, channels[channel].volume)
    return on_grid(volume, onto, places[channel].matrix, "label") > 0, note


def _read(path: Path, what: str) -> Volume:
    """The mask, 0 and 1, in a file."""
    file = inspect_nifti(path, what, volumes=1, remedy="give one 3D mask of the brain")
    values = file.values(file.read()[0]).transpose(2, 1, 0)
    lowest = values.min()
    if lowest == values.max():
        held = "is empty" if lowest == 0 else "takes every voxel for brain"
        raise BrainMaskError(
            f"{what} {held}, {lowest:g} in every voxel, but a mask is 0 outside the brain and not "
            "0 inside",
            remedy="give a mask of the brain",
        )
    check_values(values, what)
    share = values[(values > 0) & (values < 1)]
    if share.size and values.max() <= 1:
        raise BrainMaskError(
            f"{what} holds probabilities, such as {share.flat[0]:g}, but every voxel that is not "
            "0 is brain",
            remedy="set the voxels of the brain to 1 and the others to 0",
        )
    return Volume((values != 0).astype(np.uint8), file.grid)


def _check_place(what: str, mask: npt.NDArray[np.uint8], channel: str, volume: Volume) -> None:
    """Raise BrainMaskError if too much of a mask lies outside the head, as a shifted one does."""
    outline = outline_of(volume)
    share = float(outline.mask[mask != 0].mean())
    seen, least = ("brain", _LEAST_IN_BRAIN) if outline.is_stripped else ("head", _LEAST_IN_HEAD)
    if share < least:
        raise BrainMaskError(
            f"only {share:.1%} of {what} lie in the {seen} in {channel}, but at least {least:.0%} "
            "of the mask of a case do",
            remedy="give the mask that belongs to the case",
        )
