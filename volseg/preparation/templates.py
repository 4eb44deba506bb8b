"""Atlases that a case can be brought to: the MNI152 that nilearn carries, or a file of the user."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from volseg.errors import BrainMaskError, RegistrationError, VolsegError
from volseg.images.background import LARGEST_BRAIN_ML
from volseg.images.grid import Grid
from volseg.images.nifti_reading import read_case
from volseg.preparation.brain_mask.limits import LIMITS_ML
from volseg.preparation.brain_mask.stripped import stripped_brain
from volseg.preparation.foreground import foreground_of
from volseg.preparation.volume import Volume

_MNI152 = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
_GIVE = "give one 3D image of a head as NIfTI, or mni, with --to"
# Neighbours of equal values, of all neighbours in the foreground, that make a label map. Measured:
# 0.95 to 0.99 for 5 label maps of BraTS, 0.09 for MNI152 with integers up to 255, 0.62 up to 16.
_ALIKE = 0.8
# Cosine of two axes up to which they are perpendicular, but for rounding.
_PERPENDICULAR = 1e-3


@dataclass(frozen=True, eq=False)
class Template:
    """An atlas: a head in a standard place.

    Attributes:
        volume: Values and grid.
        mask: Brain (I, J, K); None if the atlas has a skull, so that the brain is not known.
        name: Of the atlas, for records and pictures.
        notes: What is assumed about it.
    """

    volume: Volume
    mask: npt.NDArray[np.bool_] | None
    name: str
    notes: tuple[str, ...] = ()


def mni152() -> Template:
    """The ICBM 152 nonlinear symmetric 2009a T1 atlas at 1 mm, skull-stripped, in MNI space. [1]

    Raises:
        RegistrationError: If nilearn is not installed or does not hold the file.

    References:
        [1] Fonov et al., "Unbiased average age-appropriate atlases for pediatric studies",
            NeuroImage 54(1), 2011. https://doi.org/10.1016/j.neuroimage.2010.07.033
    """
    images = read_case([mni152_path()], ["atlas"], ["atlas"])
    volume = Volume(images.array[0], images.grid)
    mask = np.asarray(ndimage.binary_fill_holes(volume.values > 0), np.bool_)
    return Template(volume, mask, "MNI152")


def mni152_path() -> Path:
    """The file of `mni152` in the package nilearn, whose code is not imported.

    Raises:
        RegistrationError: If nilearn is not installed or does not hold the file.
    """
    package = importlib.util.find_spec("nilearn")
    folders = [] if package is None else package.submodule_search_locations or []
    for folder in folders:
        if (path := Path(folder) / _MNI152).is_file():
            return path
    raise RegistrationError(
        "the MNI152 atlas is not there: the package nilearn, which carries it, is not installed",
        remedy="pip install nilearn, or give an atlas as a NIfTI file",
    )


def template_of(path: Path) -> Template:
    """The atlas in a file, with or without a skull.

    Raises:
        RegistrationError: If the file is missing or damaged, or no image of a head whose place and
            orientation are known.
    """
    try:
        images = read_case([path], ["atlas"], ["atlas"])
    except VolsegError as error:
        problem = f"the atlas cannot be used: {error.problem}"
        raise RegistrationError(problem, remedy=_GIVE) from None
    volume = Volume(images.array[0], images.grid)
    _check_place(path, volume.grid, images.header)
    _check_head(path, volume)
    try:
        stripped = stripped_brain({"atlas": volume}, LARGEST_BRAIN_ML)
    except BrainMaskError as error:
        raise RegistrationError(
            f"atlas {path} cannot be used: {error.problem}",
            remedy="give an atlas of a whole brain without its skull, or of a whole head",
            path=path,
        ) from None
    mask = None if stripped is None else stripped.mask
    return Template(volume, mask, path.name, images.notes)


def _check_place(path: Path, grid: Grid, header: Any) -> None:
    """Refuse an atlas that does not say where it lies, or whose axes are sheared."""
    if not (int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0):
        raise RegistrationError(
            f"the atlas {path} does not say how it is oriented: its qform_code and sform_code are "
            "0, so it may be mirrored",
            remedy="give an atlas with its orientation in its header",
        )
    axes = grid.affine[:3, :3] / grid.spacing_mm
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if cosine > _PERPENDICULAR:
        degrees = np.degrees(np.arccos(min(cosine, 1.0)))
        raise RegistrationError(
            f"the axes of the atlas {path} meet at {degrees:.0f} degrees, but 90 are expected",
            remedy="resample it onto a grid with perpendicular axes",
        )


def _check_head(path: Path, volume: Volume) -> None:
    """Refuse an atlas that shows labels, or less than a brain."""
    shown = foreground_of(volume).mask
    if (alike := _equal_neighbours(volume.values, shown)) > _ALIKE:
        raise RegistrationError(
            f"the atlas {path} looks like a label map or a mask: {alike:.0%} of its neighbouring "
            f"voxels have one value, but in an image at most {_ALIKE:.0%} have",
            remedy="give the image that belongs to it",
        )
    shown_ml = float(np.count_nonzero(shown)) * volume.grid.voxel_ml
    if shown_ml < LIMITS_ML[0]:
        raise RegistrationError(
            f"the atlas {path} shows {shown_ml:.0f} ml, but a brain has at least "
            f"{LIMITS_ML[0]:.0f} ml",
            remedy="give an atlas of a whole head, and check the size of the voxels in its header",
        )


def _equal_neighbours(values: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> float:
    """Share of equal values among neighbours along each axis within a mask."""
    equal = pairs = 0
    for axis in range(3):
        along, within = (np.moveaxis(each, axis, 0) for each in (values, mask))
        both = within[:-1] & within[1:]
        pairs += int(both.sum())
        equal += int((both & (along[:-1] == along[1:])).sum())
    return equal / pairs if pairs else 0.0
