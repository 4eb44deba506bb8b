"""NIfTI files whose voxels are known."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (4, 5, 6)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0]) + np.outer([0, 1, 0, 0], [0, 0, 0, 239.0])


def ramp(shape=SHAPE, dtype=np.int16):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def save(path: Path, array=None, affine=LPS) -> Path:
    nib.save(nib.Nifti1Image(ramp() if array is None else array, affine), path)
    return path


def save_raw(path: Path, **fields) -> Path:
    """A NIfTI with fields of its header as given, also where nibabel would repair them."""
    image = nib.Nifti1Image(ramp(), LPS)
    image.header["scl_slope"], image.header["scl_inter"], image.header["vox_offset"] = 1, 0, 352
    for name, value in fields.items():
        image.header[name] = value
    path.write_bytes(image.header.binaryblock + bytes(4) + ramp().tobytes(order="F"))
    return path
