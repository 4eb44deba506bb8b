"""Atlases that a case can be brought to: the MNI152 that nilearn carries, or a file of the user."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from volseg.errors import RegistrationError
from volseg.images.nifti_reading import read_case
from volseg.preparation.volume import Volume

_MNI152 = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"


@dataclass(frozen=True, eq=False)
class Template:
    """An atlas: a skull-stripped head in a standard place.

    Attributes:
        volume: Values and grid.
        mask: Brain (I, J, K); None if the atlas has a skull, so that the brain is not known.
        name: Of the atlas, for records and pictures.
    """

    volume: Volume
    mask: npt.NDArray[np.bool_] | None
    name: str


def mni152() -> Template:
    """The ICBM 152 nonlinear symmetric 2009a T1 atlas at 1 mm, skull-stripped, in MNI space.

    It is read from the package nilearn, whose code is not imported. [1]

    Raises:
        RegistrationError: If nilearn is not installed or does not hold the file.

    References:
        [1] Fonov et al., "Unbiased average age-appropriate atlases for pediatric studies",
            NeuroImage 54(1), 2011. https://doi.org/10.1016/j.neuroimage.2010.07.033
    """
    package = importlib.util.find_spec("nilearn")
    folders = [] if package is None else package.submodule_search_locations or []
    for folder in folders:
        if (path := Path(folder) / _MNI152).is_file():
            volume = _read(path)
            return Template(volume, _filled(volume.values > 0), "MNI152")
    raise RegistrationError(
        "the MNI152 atlas is not there: the package nilearn, which carries it, is not installed",
        remedy="pip install nilearn, or give an atlas as a NIfTI file",
    )


def _read(path: Path) -> Volume:
    images = read_case([path], ["atlas"], ["atlas"])
    return Volume(images.array[0], images.grid)


def _filled(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    filled: npt.NDArray[np.bool_] = ndimage.binary_fill_holes(mask)
    return filled
