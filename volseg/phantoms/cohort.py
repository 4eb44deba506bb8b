"""Synthetic cases written as a BraTS 2023 cohort, or as a cohort of CT."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from volseg.files.writing import atomic_write
from volseg.images.nifti_writing import write_label_map
from volseg.phantoms.ct import make_ct
from volseg.phantoms.head import Phantom, make_phantom


def make_cohort(
    folder: Path,
    cases: int = 12,
    shape: tuple[int, int, int] = (120, 120, 78),
    spacing_mm: float = 2.0,
    seed: int = 0,
    without_enhancing: float = 0.2,
    first: int = 1,
) -> list[Path]:
    """Write synthetic cases as `BraTS-GLI-90001-000/BraTS-GLI-90001-000-t1n.nii.gz` and so on.

    Equal arguments give equal files, and a case depends on its number, not on the number of cases:
    two calls with other numbers give other patients.

    Args:
        folder: Parent of the case folders.
        cases: Number of cases, each of another patient.
        shape: Voxels of every image. The head always fills it as in BraTS: 240 x 240 x 156 mm.
        spacing_mm: Spacing written into the files.
        seed: Another seed gives other patients.
        without_enhancing: Share of the cases without enhancing tumour; 0.2: every fifth case.
        first: Number of the first case; 1 is `BraTS-GLI-90001-000`.

    Returns:
        The case folders.

    Raises:
        OutputError: If a file cannot be written.
    """
    affine = _affine(shape, spacing_mm)
    folders = []
    for number in range(first, first + cases):
        enhancing = int(number * without_enhancing) == int((number - 1) * without_enhancing)
        phantom = make_phantom(np.random.default_rng([seed, number]), shape, enhancing)
        case_id = f"BraTS-GLI-{90000 + number}-000"
        folders.append(folder / case_id)
        _write(phantom, folders[-1], affine)
    return folders


def make_ct_cohort(
    folder: Path,
    cases: int = 12,
    shape: tuple[int, int, int] = (120, 120, 78),
    spacing_mm: float = 2.0,
    seed: int = 0,
) -> list[Path]:
    """Write synthetic CT of heads with lesions as `CT-90001/CT-90001-ct.nii.gz` and so on.

    Arguments, result and errors are those of `make_cohort`.
    """
    folders = []
    for number in range(1, cases + 1):
        phantom = make_ct(np.random.default_rng([seed, number]), shape)
        folders.append(folder / f"CT-{90000 + number}")
        _write(phantom, folders[-1], _affine(shape, spacing_mm))
    return folders


def _affine(shape: tuple[int, int, int], spacing_mm: float) -> npt.NDArray[np.float64]:
    affine = np.diag([-spacing_mm, -spacing_mm, spacing_mm, 1.0])
    affine[1, 3] = (shape[1] - 1) * spacing_mm
    return affine


def _write(phantom: Phantom, folder: Path, affine: npt.NDArray[np.float64]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for channel, array in phantom.images.items():
        image = nib.Nifti1Image(array, affine)
        image.set_qform(affine, code=2)
        image.set_sform(affine, code=1)
        image.header.set_xyzt_units("mm")
        with atomic_write(folder / f"{folder.name}-{channel}.nii.gz") as path:
            image.to_filename(path)
    write_label_map(folder / f"{folder.name}-seg.nii.gz", phantom.label_map, image.header)
