"""Analyze 7.5 (also as SPM writes it) and NIfTI in two files: a header (HDR) and voxels (IMG)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from volseg.conversion.image_files.stored import Encoding, Part, Stored
from volseg.conversion.image_files.volume import (
    Assumed,
    ImageVolume,
    affine_of,
    checked_grid,
    directions,
)
from volseg.errors import ImageError
from volseg.files.documents import check_regular, open_regular, read_bytes
from volseg.images.grid import Affine
from volseg.images.nifti_geometry import check_spacing, grid_of
from volseg.images.nifti_header import stored_form
from volseg.images.nifti_stream import SLACK, opened
from volseg.words import reason

HEADER_BYTES = 348
_AXES = "export one file for each volume"
# The matrix of SPM has a few hundred bytes.
_MOST_MATRIX_BYTES = 2**16
# Where an Analyze header holds `orient` and, as SPM writes it, the slope and the first voxel.
_ORIENT = 252


def inspect_analyze(path: Path, where: str, assumed: Assumed) -> ImageVolume:
    """The volume of a header HDR and its voxels IMG.

    Args:
        path: The header.
        where: Name of the header in errors.
        assumed: What holds if the header does not say it.

    Raises:
        ImageError: If the header is damaged, or its voxels are missing, truncated or no grey values
            of one volume.
        GeometryError: If the geometry is impossible.
    """
    with opened(path, where) as stream:
        content = stream.read(HEADER_BYTES + 4)
    if is_nifti_pair(content):
        return _nifti(path, where, content)
    header = _header(content, where)
    shape, dtype = stored_form(header, where, 1, _AXES)
    affine, notes = _affine(path, where, header, content[_ORIENT], assumed)
    grid = checked_grid(shape[:3], affine, where)
    # SPM writes a slope where Analyze has an unused field.
    slope = header.get_slope_inter()[0]
    if slope is not None and slope != 1:
        notes = [*notes, f"values multiplied by {slope:g}, as SPM does"]
    start = int(header["vox_offset"]) if 0 <= header["vox_offset"] <= SLACK else 0
    i, j, k = (int(size) for size in shape[:3])
    part, encoding = _voxels(path, start)
    scale = 1.0 if slope is None else float(slope)
    return Stored(where, (part,), (i, j, k), dtype, encoding, scale).volume(path, grid, notes)


def is_header(content: bytes) -> bool:
    """Whether bytes begin like a header of Analyze or of NIfTI in two files."""
    return HEADER_BYTES in {int.from_bytes(content[:4], order) for order in ("little", "big")}


def is_nifti_pair(content: bytes) -> bool:
    """Whether the bytes of a header are NIfTI."""
    return content[344:348] in {b"ni1\0", b"n+1\0"}


def voxel_file(header: Path) -> Path:
    """The file of the voxels of a header: IMG, packed or not."""
    name = header.name
    packed = name.casefold().endswith(".gz")
    bare = name[: -len(".hdr.gz" if packed else ".hdr")]
    ending = ".IMG" if name.endswith((".HDR", ".HDR.GZ")) else ".img"
    plain, gzipped = header.with_name(bare + ending), header.with_name(f"{bare}{ending}.gz")
    return gzipped if packed or (gzipped.exists() and not plain.exists()) else plain


def _header(content: bytes, where: str) -> Any:
    for order in "<>":
        header = (
            nib.Spm99AnalyzeHeader(content[:HEADER_BYTES], endianness=order, check=False)
            if len(content) >= HEADER_BYTES
            else None
        )
        if header is not None and int(header["sizeof_hdr"]) == HEADER_BYTES:
            try:
                header.get_data_dtype()
                header.get_data_shape()
                header.get_slope_inter()
            except (HeaderDataError, ValueError, KeyError) as error:
                raise ImageError(
                    f"{where} has an invalid Analyze header ({reason(error)})",
                    remedy="export it again",
                ) from None
            return header
    raise ImageError(
        f"{where} is no Analyze or NIfTI header: it holds {len(content)} bytes that begin with "
        f"{content[:8]!r}",
        remedy="copy or export it again",
    )


def _affine(
    path: Path, where: str, header: Any, orient: int, assumed: Assumed
) -> tuple[Affine, list[str]]:
    """Affine to RAS, and notes on what the header does not say."""
    matrix = path.with_name(f"{path.name[: path.name.casefold().rindex('.hdr')]}.mat")
    if matrix.is_file():
        return _of_spm(matrix), [f"position and orientation by {matrix.name}, as SPM does"]
    if orient != 0 and assumed.orientation is None:
        raise ImageError(
            f"{where} has orient {orient} in its header, but only 0 (axial slices) is used",
            remedy="give the directions of its axes, such as --orientation LAS",
        )
    letters, note = assumed.oriented("LAS", "as SPM does")
    spacing = abs(np.asarray(header["pixdim"][1:4], np.float64))
    steps = directions(letters) * spacing
    # SPM counts the voxel at 0, 0, 0 from 1; 0 means unknown.
    voxel = np.asarray(header["origin"][:3], np.float64)
    size = np.asarray(header.get_data_shape()[:3])
    if voxel.any() and (voxel > -size).all() and (voxel < 2 * size).all():
        return affine_of(steps, (-steps @ (voxel - 1)).tolist()), [note]
    centre = (size - 1) / 2
    return (
        affine_of(steps, (-steps @ centre).tolist()),
        [note, "the file says no position: its centre is taken as 0"],
    )


def _of_spm(path: Path) -> Affine:
    """Affine in the file of a matrix that SPM writes; it counts voxels from 1."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        file: Any = io.BytesIO(read_bytes(path, _MOST_MATRIX_BYTES))
        content = loadmat(file)
        # `mat` is the matrix itself; `M` of SPM99 lacks a flip.
        found = content["mat"] if "mat" in content else np.diag([-1, 1, 1, 1]) @ content["M"]
        matrix = np.asarray(found, np.float64).reshape(4, 4)
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError, MatReadError) as error:
        raise ImageError(
            f"{path} holds no matrix of SPM ({reason(error)})",
            remedy="copy it again, or take it away to use the header alone",
        ) from None
    to_one = np.eye(4)
    to_one[:3, 3] = 1
    affine: Affine = matrix @ to_one
    return affine


def _nifti(path: Path, where: str, content: bytes) -> ImageVolume:
    from volseg.images.nifti_header import header_of

    header = header_of(content, where)
    shape, dtype = stored_form(header, where, 1, _AXES)
    grid = grid_of(header, where)
    check_spacing(grid, header, where)
    offset = float(header["vox_offset"])
    if not (0 <= offset <= SLACK and offset.is_integer()):
        raise ImageError(
            f"{where} says that its voxels begin at byte {offset:g}, but a whole number from 0 to "
            f"{SLACK} is expected",
            remedy="export it again",
        )
    slope, intercept = header.get_slope_inter()
    i, j, k = (int(size) for size in shape[:3])
    part, encoding = _voxels(path, int(offset))
    scaling = float(slope or 1), float(intercept or 0)
    stored = Stored(where, (part,), (i, j, k), dtype, encoding, *scaling)
    return stored.volume(path, grid, grid.notes)


def _voxels(header: Path, start: int) -> tuple[Part, Encoding]:
    path = voxel_file(header)
    try:
        check_regular(path)
        with open_regular(path) as file:
            is_packed = file.read(2) == b"\x1f\x8b"
    except OSError:  # named by `Stored.check`
        is_packed = False
    return Part(path, start), "deflate" if is_packed else "raw"
