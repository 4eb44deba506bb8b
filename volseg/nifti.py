"""Scans in, results out: NIfTI files read to one array and its grid, and written on that grid.

Input files are only ever read. What is written lies on the grid of the input to the last bit, and
is written whole or not at all.
"""

from __future__ import annotations

import gzip
import itertools
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip, igzip_lib
from nibabel.spatialimages import HeaderDataError

from volseg.errors import GeometryError, ImageError, LabelError
from volseg.files import atomic_write

_HEADER_CLASSES = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
# Any, since the stubs of isal declare its error as an instance.
_DAMAGED: Any = (EOFError, igzip_lib.IsalError, gzip.BadGzipFile)
_GEOMETRY = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)
# nibabel prints what it repairs in its own copy of a header, without saying in which file.
_SILENT = logging.Logger("header", logging.CRITICAL + 1)


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of an image lie.

    Attributes:
        shape: Voxels along each axis.
        affine: Voxel indices to world (RAS, mm), (4, 4).
    """

    shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along each axis, in mm."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel, in ml."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000


@dataclass(frozen=True, eq=False)
class CaseImages:
    """The images of one case.

    Attributes:
        array: (C, I, J, K); integers as in the files, or float32.
        grid: Shared by all channels.
        header: NIfTI header of the first channel, as found; results are written on its grid.
        notes: Differences of grids that were too small to matter.
        missing: Channels that are missing, and that another channel stands in for.
        slices: Of a stack, the file of each slice along K; results may be written as its like.
    """

    array: npt.NDArray[Any]
    grid: Grid
    header: Any
    notes: tuple[str, ...]
    missing: tuple[str, ...] = ()
    slices: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False)
class _Image:
    """A decoded file: voxels (I, J, K, N) as stored, and how the header scales them."""

    voxels: npt.NDArray[Any]
    slope: float
    intercept: float
    grid: Grid
    header: Any

    def volume(self, number: int) -> npt.NDArray[Any]:
        """Volume (I, J, K): integers as stored, or float32."""
        stored = self.voxels[..., number]
        if stored.dtype.kind != "f" and (self.slope, self.intercept) == (1, 0):
            return stored
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is refused
            values = stored.astype(np.float32)
            if (self.slope, self.intercept) != (1, 0):
                values = values * np.float32(self.slope) + np.float32(self.intercept)
        return values


def read_case(
    case_id: str, images: Sequence[Path], file_channels: Sequence[str], channels: Sequence[str]
) -> CaseImages:
    """Read the images of a case.

    Args:
        case_id: Named in errors.
        images: One file for each of `file_channels`, or one 4D file with a volume for each.
        file_channels: What the files hold.
        channels: What to read, in this order.

    Raises:
        ImageError: If a channel is missing, or its file is missing, damaged, no 3D NIfTI, holds
            NaN or infinite voxels, or is constant.
        GeometryError: If the channels do not lie on one grid.
    """
    sources = _sources(case_id, images, file_channels, channels)
    volumes_of = len(file_channels) if len(images) == 1 else 1
    decoded = {path: _decode(path, f"case {case_id}: {path}", volumes_of) for path, _ in sources}
    first = decoded[sources[0][0]]
    grids = {path: image.grid for path, image in decoded.items()}
    notes = _compare_grids(case_id, channels, sources, grids)
    volumes = []
    for channel, (path, number) in zip(channels, sources, strict=True):
        volumes.append(decoded[path].volume(number))
        check_values(volumes[-1], f"case {case_id}: {channel} in {path}")
    # The axes stay in the order of the file, K outermost: a plain copy, several times faster.
    shape = (len(volumes), *reversed(first.grid.shape))
    array = np.empty(shape, np.result_type(*volumes)).transpose(0, 3, 2, 1)
    for target, volume in zip(array, volumes, strict=True):
        target[...] = volume
    return CaseImages(array, first.grid, first.header, tuple(notes))


def read_case_grid(
    case_id: str, images: Sequence[Path], file_channels: Sequence[str], channels: Sequence[str]
) -> Grid:
    """Grid that `read_case` would find, and its errors as far as the headers tell."""
    sources = _sources(case_id, images, file_channels, channels)
    volumes = len(file_channels) if len(images) == 1 else 1
    grids = {}
    for path in dict.fromkeys(path for path, _ in sources):
        where = f"case {case_id}: {path}"
        header = _header(_content(path, where, size=max(_HEADER_CLASSES)), where)
        _check_stored(header, where, volumes)
        grids[path] = _grid(header, where)
    _compare_grids(case_id, channels, sources, grids)
    return grids[sources[0][0]]


def read_header(path: Path) -> tuple[Grid, Any]:
    """Grid and header of a NIfTI file, without decoding its voxels.

    Raises:
        ImageError: If the file is missing, damaged or no NIfTI, or its affine is degenerate.
    """
    header = _header(_content(path, str(path), size=max(_HEADER_CLASSES)), str(path))
    return _grid(header, str(path)), header


def read_label_map(path: Path) -> tuple[npt.NDArray[np.uint8], Grid]:
    """Label map (I, J, K) and its grid; floating-point files are accepted when integral.

    Raises:
        ImageError: If the file is missing, damaged or no 3D NIfTI.
        LabelError: If it holds anything but integers from 0 to 255.
    """
    image = _decode(path, str(path), volumes=1)
    values = image.volume(0)
    if values.dtype == np.uint8:
        return values, image.grid
    # Scaling by a header leaves a rounding error.
    bad = ~np.isfinite(values) | (abs(values - np.rint(values)) > 1e-3)
    bad |= (values < -0.5) | (values > 255.5)
    if bad.any():
        raise LabelError(
            f"{path} holds {values[bad][0]} and {bad.sum() - 1} more such voxels, but a label map "
            "holds integers from 0 to 255; give the label map, not an image or a probability"
        )
    return np.rint(values).astype(np.uint8), image.grid


def check_same_grid(grids: Mapping[str, Grid], tolerance_mm: float = 0.01) -> list[str]:
    """Compare grids, given by name, with the first one.

    Args:
        grids: At least one.
        tolerance_mm: How far a corner of the volume may be displaced.

    Returns:
        A sentence for each grid that differs, but by no more than the tolerance.

    Raises:
        GeometryError: If a grid differs in shape, or by more than the tolerance.
    """
    (first, reference), *others = grids.items()
    notes = []
    for name, grid in others:
        if grid.shape != reference.shape:
            raise GeometryError(
                f"{name} has shape {grid.shape}, but {first} has {reference.shape}; "
                "co-register the images of a case first"
            )
        distance = _displacement_mm(grid, reference)
        if distance > tolerance_mm:
            raise GeometryError(
                f"{name} lies {distance:.3g} mm away from {first}, but at most {tolerance_mm:g} mm "
                "is accepted; co-register the images of a case first"
            )
        if distance > 0:
            notes.append(f"{name} lies {distance:.2g} mm away from {first}: accepted")
    return notes


def write_label_map(path: Path, label_map: npt.NDArray[np.uint8], header: Any) -> None:
    """Write a label map as uint8, on exactly the grid of `header`.

    Args:
        path: `.nii.gz` or `.nii`; replaced if it exists.
        label_map: (I, J, K).
        header: Header of the image that was segmented; of a 4D one, its first three axes count.

    Raises:
        OutputError: If it cannot be written; nothing half-written stays.
    """
    _write(path, label_map, header, np.dtype("uint8"))


def write_probabilities(path: Path, probabilities: npt.NDArray[np.float32], header: Any) -> None:
    """Write the probabilities (I, J, K) of a region as float32; else as `write_label_map`."""
    _write(path, probabilities, header, np.dtype("<f4"))


def _sources(
    case_id: str, images: Sequence[Path], file_channels: Sequence[str], channels: Sequence[str]
) -> list[tuple[Path, int]]:
    """File and number of the volume for each of `channels`."""
    if len(images) not in {1, len(file_channels)}:
        raise ImageError(
            f"case {case_id} has {len(images)} files, but channels {' '.join(file_channels)}; "
            "give one file for each channel, or one 4D file"
        )
    missing = [channel for channel in channels if channel not in file_channels]
    if missing:
        raise ImageError(
            f"case {case_id} has no {' '.join(missing)}, but only {' '.join(file_channels)}; "
            "add the missing image"
        )
    numbers = [file_channels.index(channel) for channel in channels]
    return [(images[0], n) if len(images) == 1 else (images[n], 0) for n in numbers]


def _decode(path: Path, where: str, volumes: int) -> _Image:
    """All voxels of a file that must hold so many volumes; `where` names it in errors."""
    content = _content(path, where)
    header = _header(content, where)
    shape, dtype = _check_stored(header, where, volumes)
    count, start = math.prod(shape), int(header["vox_offset"]) or header.single_vox_offset
    if len(content) < start + count * dtype.itemsize:
        raise ImageError(
            f"{where} is truncated: it holds {len(content)} bytes, but its header announces "
            f"{start + count * dtype.itemsize}; copy or download it again"
        )
    voxels = np.frombuffer(content, dtype, count, start).astype(dtype.newbyteorder("="), copy=False)
    slope, intercept = header.get_slope_inter()
    voxels = voxels.reshape((*shape[:3], volumes), order="F")
    return _Image(voxels, slope or 1, intercept or 0, _grid(header, where), header)


def _compare_grids(
    case_id: str,
    channels: Sequence[str],
    sources: Sequence[tuple[Path, int]],
    grids: Mapping[Path, Grid],
) -> list[str]:
    """`check_same_grid` of the channels of a case; errors name the file."""
    first = grids[sources[0][0]]
    notes = []
    for channel, (path, _) in zip(channels, sources, strict=True):
        try:
            notes += check_same_grid({channels[0]: first, channel: grids[path]})
        except GeometryError as error:
            raise GeometryError(f"case {case_id}, {path.name}: {error}") from None
    return notes


def _check_stored(header: Any, where: str, volumes: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of what a file holds: so many volumes of numbers."""
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    found = [size for size in shape[3:] if size != 1] or [1]
    if len(shape) < 3 or min(shape) < 1 or found != [volumes]:
        needed = f"{volumes} volumes of 3 axes" if volumes > 1 else "one volume of 3 axes"
        raise ImageError(
            f"{where} has shape {shape}, but {needed} is expected; "
            "give one 3D image for each channel, or one 4D image of all channels"
        )
    if dtype.kind not in "iuf":
        raise ImageError(
            f"{where} holds voxels of type {dtype}, but numbers are expected; export grey values"
        )
    return shape, dtype


def _content(path: Path, where: str, size: int = -1) -> bytes:
    """The first `size` bytes of a file, or all; decompressed if it is a gzip, whatever its name."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not zipped:
                return file.read(size)
            with igzip.open(file) as stream:
                return stream.read(size) if size > 0 else igzip.decompress(file.read())
    except FileNotFoundError:
        raise ImageError(f"{where} does not exist; correct the path or the data list") from None
    except _DAMAGED as error:
        raise ImageError(
            f"{where} is a truncated or damaged gzip file ({error}); copy or download it again"
        ) from None
    except OSError as error:
        raise ImageError(
            f"{where} cannot be read ({error.strerror}); give a file that you may read"
        ) from None


def _header(content: bytes, where: str) -> Any:
    """The header that a file begins with, bit by bit as it is."""
    for order in ("little", "big"):
        header_class = _HEADER_CLASSES.get(int.from_bytes(content[:4], order))
        if header_class and len(content) >= header_class.sizeof_hdr:
            header = header_class(content[: header_class.sizeof_hdr], check=False)
            try:
                header.copy().check_fix(logger=_SILENT, error_level=40)
                header.get_slope_inter()
            except HeaderDataError as error:
                raise ImageError(
                    f"{where} has an invalid NIfTI header ({error}); convert the image again"
                ) from None
            return header
    raise ImageError(
        f"{where} is not a NIfTI file: it begins with {content[:8]!r}; "
        "download it again or convert the image to NIfTI"
    )


def _grid(header: Any, where: str) -> Grid:
    # A qfac of 0 stands for 1, and negative pixdims for positive ones: so says the standard.
    repaired = header.copy()
    repaired.check_fix(logger=_SILENT, error_level=40)
    try:
        affine = np.asarray(repaired.get_best_affine(), dtype=np.float64)
    except (HeaderDataError, ValueError):  # a quaternion longer than 1
        affine = np.full((4, 4), np.nan)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    by_pixdim = int(header["sform_code"]) <= 0
    if by_pixdim and not header["pixdim"][1:4].all():
        spacing = np.zeros(3)
    # Volume of a voxel as a share of a box with its edges: 1 when they are perpendicular.
    with np.errstate(divide="ignore", invalid="ignore"):
        volume = abs(np.linalg.det(affine[:3, :3] / spacing))
    if not (np.isfinite(affine).all() and spacing.all() and volume > 1e-3):
        raise ImageError(
            f"{where} has a degenerate affine {affine[:3].round(4).tolist()}, but its three axes "
            "must span a volume; repair its sform or qform, or convert the image again"
        )
    i, j, k = (*header.get_data_shape()[:3], 1, 1, 1)[:3]
    return Grid((int(i), int(j), int(k)), affine)


def _displacement_mm(grid: Grid, reference: Grid) -> float:
    """Largest distance between the same corner of two volumes of one shape."""
    edges = [(-0.5, size - 0.5) for size in reference.shape]
    corners = np.array([(*corner, 1) for corner in itertools.product(*edges)])
    differences = corners @ (grid.affine - reference.affine).T
    return float(np.linalg.norm(differences[:, :3], axis=1).max())


def check_values(volume: npt.NDArray[Any], where: str) -> None:
    """Raise ImageError, naming `where`, if a voxel is NaN or infinite, or all are equal."""
    lost = volume.size - np.count_nonzero(np.isfinite(volume)) if volume.dtype.kind == "f" else 0
    if lost:
        raise ImageError(
            f"{where} holds {lost} NaN or infinite voxels, but every voxel must be a number; "
            "repair the image"
        )
    lowest = volume.min()
    if lowest == volume.max():
        raise ImageError(
            f"{where} is constant, {lowest} in every voxel, but an image has contrast; "
            "replace the image, or leave the case out"
        )


def _write(path: Path, voxels: npt.NDArray[Any], header: Any, dtype: np.dtype[Any]) -> None:
    if voxels.shape != tuple(header.get_data_shape()[:3]):
        raise ValueError(f"array of shape {voxels.shape}, header of {header.get_data_shape()}")
    if not np.can_cast(voxels.dtype, dtype):
        raise ValueError(f"array of type {voxels.dtype} cannot be written as {dtype}")
    # A new header with nothing but the geometry: other fields and extensions of a scan may name
    # the patient, or say things that are not true of the result.
    is_nifti2 = isinstance(header, nib.Nifti2Header)
    new = (nib.Nifti2Header if is_nifti2 else nib.Nifti1Header)(endianness="<")
    new.set_data_shape(voxels.shape)
    new.set_data_dtype(dtype)
    for field in _GEOMETRY:
        new[field] = header[field]
    new["scl_slope"], new["scl_inter"] = 1, 0
    new["vox_offset"] = new.single_vox_offset
    content = new.binaryblock + bytes(4) + voxels.astype(dtype, copy=False).tobytes(order="F")
    if path.name.lower().endswith(".gz"):
        # Level 1 is the fastest and, on label maps, the smallest; no time: same input, same file.
        content = igzip.compress(content, 1, mtime=0)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
