"""Scans of a few voxels on disk: brains with a tumour, and coloured slices."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from PIL import Image

SUFFIXES = {"t1n": "t1", "t1c": "t1ce", "t2w": "t2", "t2f": "flair"}
#: Boxes of a tumour in voxels of the RAS volume, which no flip maps onto itself.
WHOLE, CORE, ENHANCING = np.s_[5:11, 6:13, 4:9], np.s_[6:10, 7:11, 5:8], np.s_[6:8, 8:10, 6:8]
#: Of the LGG layout.
PATIENTS = ["TCGA_CS_0001_20000101", "TCGA_DU_0002_20000101"]


def write_case(folder, case_id="BraTS2021_00001", orientation="LPS", affine=None):
    """Four channels of a brain with a tumour, in BraTS 2021 names; returns the case folder."""
    points = np.moveaxis(np.indices((20, 22, 18)), 0, -1)
    brain = (((points - (10, 11, 9)) / (8, 9, 7)) ** 2).sum(-1) <= 1
    random = np.random.default_rng(0)
    (folder / case_id).mkdir(parents=True)
    for channel, suffix in SUFFIXES.items():
        array = np.where(brain, random.integers(90, 110, brain.shape), 0)
        bright = {"t2f": WHOLE, "t1c": CORE, "t2w": ENHANCING}.get(channel)
        if bright is not None:
            array[bright] = 400
        in_ras = np.diag([1.0, 1.0, 1.0, 1.0]) if affine is None else affine
        image = nib.Nifti1Image(array.astype(np.int16), in_ras)
        turn = ornt_transform(io_orientation(in_ras), axcodes2ornt(orientation))
        image = image.as_reoriented(turn)
        image.set_qform(image.affine, 1)
        image.set_sform(image.affine, 2)
        image.header.set_xyzt_units("mm", "sec")
        nib.save(image, folder / case_id / f"{case_id}_{suffix}.nii.gz")
    return folder / case_id


def oblique():
    angle = np.deg2rad(12)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, 3] = (-11.5, 7.25, 3.125)
    return affine


def write_images(folder, names, channels=3):
    """8-bit images of 18 columns and 14 rows."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for name in names:
        values = random.integers(1, 255, (14, 18, channels)).astype(np.uint8)
        Image.fromarray(values).save(folder / name)
