"""Brain masks of the user: a folder with a file for each case."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from volseg.errors import BrainMaskError
from volseg.images.grid import Grid
from volseg.images.nifti_reading import read_case
from volseg.preparation.alignment import Aligned
from volseg.preparation.brain_mask.finding import METHODS
from volseg.preparation.grids import Mask, on_grid
from volseg.preparation.label_maps import channel_of_grid
from volseg.preparation.sources import Source
from volseg.preparation.volume import Volume

_ENDINGS = ("", *(f"{a}{b}" for a in "-_" for b in ("mask", "brainmask", "brain_mask")))
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
        BrainMaskError: If it holds probabilities.
        GeometryError: If no channel has its grid, or several that were moved differently.
        ImageError: If it cannot be read.
    """
    images = read_case([path], ["the brain mask"], ["the brain mask"])
    what = f"the brain mask {path.name}"
    channel, note = channel_of_grid(what, images.grid, channels, places, reference)
    values = images.array[0]
    share = values[(values > 0) & (values < 1)]
    if share.size and values.max() <= 1:
        raise BrainMaskError(
            f"{what} holds probabilities, such as {share.flat[0]:g}, but every voxel that is not "
            "0 is brain",
            remedy="set the voxels of the brain to 1 and the others to 0",
        )
    volume = Volume((values != 0).astype(np.uint8), images.grid)
    return on_grid(volume, onto, places[channel].matrix, "label") > 0, note
