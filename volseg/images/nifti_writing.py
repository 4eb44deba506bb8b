"""Atomic writing of results as NIfTI, on exactly the grid of the input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip

from volseg.files.writing import atomic_write
from volseg.images.grid import Grid

_GEOMETRY = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)


def write_label_map(path: Path, label_map: npt.NDArray[np.uint8], header: Any) -> None:
    """Write a label map as uint8, on exactly the grid of `header`.

    Args:
        path: `.nii.gz` or `.nii`; replaced if it exists.
        label_map: (I, J, K).
        header: Header of the segmented image; only the first three axes of a 4D image count.

    Raises:
        OutputError: If the file cannot be written; no partial file stays.
    """
    _write(path, label_map, header, np.dtype("uint8"))


def write_map(path: Path, values: npt.NDArray[np.float32], header: Any) -> None:
    """Write a map (I, J, K), such as probabilities, as float32; see `write_label_map`."""
    _write(path, values, header, np.dtype("<f4"))


def write_image(path: Path, voxels: npt.NDArray[Any], header: Any) -> None:
    """Write the grey values (I, J, K) of a channel in their own type; see `write_label_map`."""
    _write(path, voxels, header, voxels.dtype)


def header_on(grid: Grid, code: int) -> Any:
    """A header whose grid is `grid`, rounded to float32.

    Args:
        grid: Shape and affine.
        code: Code of NIfTI for the world: 1 for that of the scanner, 2 for that of another image,
            4 for MNI 152.
    """
    kind: Any = nib.Nifti1Header
    header = kind()
    header.set_data_shape(grid.shape)
    header.set_zooms(grid.spacing_mm)
    header.set_xyzt_units("mm")
    header.set_sform(grid.affine, code)
    # A qform cannot be sheared.
    header.set_qform(grid.affine, code if grid.steps_mm.ndim == 1 else 0, strip_shears=True)
    return header


def result_header(voxels: npt.NDArray[Any], header: Any) -> Any:
    """Header of a result with the type of `voxels` (I, J, K), on exactly the grid of `header`."""
    if voxels.shape != tuple(header.get_data_shape()[:3]):
        raise ValueError(f"array of shape {voxels.shape}, header of {header.get_data_shape()}")
    # Only the geometry is copied: other fields and extensions of a scan may name the patient, or be
    # wrong for the result.
    kind: Any = nib.Nifti2Header if isinstance(header, nib.Nifti2Header) else nib.Nifti1Header
    new = kind(endianness="<")
    new.set_data_shape(voxels.shape)
    new.set_data_dtype(voxels.dtype)
    for field in _GEOMETRY:
        new[field] = header[field]
    new["scl_slope"], new["scl_inter"] = 1, 0
    new["vox_offset"] = new.single_vox_offset
    return new


def geometry_of(header: Any) -> dict[str, float | tuple[float, ...]]:
    """Fields of a header that hold its grid, as plain numbers that keep every bit.

    Numbers that are not finite become 0: a field that holds the grid has none.
    """
    found = {}
    for field in _GEOMETRY:
        values = np.nan_to_num(np.asarray(header[field], np.float64), posinf=0, neginf=0)
        found[field] = float(values) if values.ndim == 0 else tuple(values.tolist())
    return found


def set_geometry(header: Any, geometry: Mapping[str, float | tuple[float, ...]]) -> None:
    """Set the fields of `geometry_of` in a header of the same version of NIfTI."""
    for field in _GEOMETRY:
        header[field] = geometry[field]


def _write(path: Path, voxels: npt.NDArray[Any], header: Any, dtype: np.dtype[Any]) -> None:
    if not np.can_cast(voxels.dtype, dtype):
        raise ValueError(f"array of type {voxels.dtype} cannot be written as {dtype}")
    voxels = voxels.astype(dtype, copy=False)
    new = result_header(voxels, header)
    content = new.binaryblock + bytes(4) + voxels.tobytes(order="F")
    if path.name.lower().endswith(".gz"):
        # Level 1 is the fastest and, on label maps, the smallest; without time, equal input gives
        # an equal file.
        content = igzip.compress(content, 1, mtime=0)
    with atomic_write(path, known=True) as temporary:
        temporary.write_bytes(content)
