"""NIfTI in one file, plain or packed: raw scans, each on its own grid."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.conversion.image_files.grey_values import grey_values, label_values
from volseg.conversion.image_files.volume import Assumed, ImageVolume
from volseg.images.nifti_file import inspect_nifti

_REMEDY = "export one file for each volume"


def inspect_nifti_volume(path: Path, where: str, assumed: Assumed) -> ImageVolume:
    """The volume in a NIfTI file; errors as in `images.nifti_file.inspect_nifti`."""
    grid = inspect_nifti(path, where, 1, _REMEDY).grid
    load, load_labels = partial(_load, path, where), partial(_load_labels, path, where)
    return ImageVolume((path,), grid, load, load_labels, grid.notes)


def _load(path: Path, where: str) -> npt.NDArray[Any]:
    return grey_values(*_stored(path, where), where)


def _load_labels(path: Path, where: str) -> npt.NDArray[np.uint8]:
    return label_values(*_stored(path, where), where)


def _stored(path: Path, where: str) -> tuple[npt.NDArray[Any], float, float]:
    """Stored voxels (I, J, K), slope and intercept."""
    file = inspect_nifti(path, where, 1, _REMEDY)
    return file.read()[0].transpose(2, 1, 0), *file.scaling
