"""Synthetic cases written as a BraTS 2023 cohort."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from volseg.files.writing import atomic_write
from volseg.images.nifti_writing import write_label_map
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
    folders = []
    for number in range(first, first + cases):
        enhancing = int(number * without_enhancing) == int((number - 1) * without_enhancing)
        phantom = make_phantom(np.random.default_rng([seed, number]), shape, enhancing)
        case_id = f"BraTS-GLI-{90000 + number}-000"
        folders.append(folder / case_id)
        write_phantom(phantom, folders[-1], spacing_mm)
    return folders


def write_phantom(phantom: Phantom, folder: Path, spacing_mm: float) -> None:
    """Write images and label map into a folder, as files with its name: `CASE/CASE-t1n.nii.gz`.

    Raises:
        OutputError: If a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-spacing_mm, -spacing_mm, spacing_mm, 1.0])
    affine[1, 3] = (phantom.label_map.shape[1] - 1) * spacing_mm
    for channel, array in phantom.images.items():
        image = nib.Nifti1Image(array, affine)
        image.set_qform(affine, code=2)
        image.set_sform(affine, code=1)
        image.header.set_xyzt_units("mm")
        with atomic_write(folder / f"{folder.name}-{channel}.nii.gz") as path:
            image.to_filename(path)
    write_label_map(folder / f"{folder.name}-seg.nii.gz", phantom.label_map, image.header)
