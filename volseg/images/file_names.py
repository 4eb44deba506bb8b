"""Kinds of image files, by the ending of their name."""

from __future__ import annotations

import re


def is_nifti(name: str) -> bool:
    """Whether a file name ends in `.nii` or `.nii.gz`."""
    return name.lower().endswith((".nii", ".nii.gz"))


def is_slice(name: str) -> bool:
    """Whether a file name ends like that of a 2D image.

    >>> is_slice("TCGA_CS_4941_19960909_1.tif"), is_slice("scan.nii.gz")
    (True, False)
    """
    return name.lower().endswith((".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp"))


def stem(name: str) -> str:
    """Name of a NIfTI file without its ending.

    >>> stem("BraTS2021_00000_t1.nii.gz")
    'BraTS2021_00000_t1'
    """
    return re.sub(r"\.nii(\.gz)?$", "", name, flags=re.IGNORECASE)
