"""Reading of NIfTI files: the images of a case as one array, and label maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.errors import GeometryError, ImageError, LabelError
from volseg.images.case_images import CaseImages, check_values
from volseg.images.grid import Grid, check_same_grid
from volseg.images.nifti_file import NiftiFile, inspect_nifti, read_first_slice
from volseg.images.nifti_geometry import grid_of, header_spacing_mm
from volseg.images.nifti_header import read_raw_header
from volseg.memory import require
from volseg.ranks import cores


def read_case(
    images: Sequence[Path], file_channels: Sequence[str], channels: Sequence[str]
) -> CaseImages:
    """Read the images of a case; files in parallel, one per core.

    Args:
        images: One file for each of `file_channels`, or one 4D file with a volume for each.
        file_channels: Channels of the files.
        channels: Channels to read, in this order.

    Raises:
        ImageError: If a channel is missing, or its file is missing, damaged, not a 3D NIfTI, holds
            NaN or infinite voxels, or is constant.
        GeometryError: If the channels do not lie on one grid.
        ResourceError: If memory is too small.
    """
    sources = _sources(images, file_channels, channels)
    files = _inspect(images, file_channels, sources)
    grid = _common_grid(channels, sources, {p: f.grid for p, f in files.items()})
    first = files[sources[0][0]]
    dtype = np.result_type(*(file.value_dtype for file in files.values()))
    if dtype.kind == "f":  # float64 if a channel holds large integers
        dtype = np.dtype(np.float32)
    # The axes keep the order of the file, K outermost, so voxels are read directly into place.
    shape = (len(channels), *reversed(grid.shape))
    require(
        math.prod(shape) * dtype.itemsize,
        f"{len(channels)} channels of {grid.shape_in_words} voxels",
    )
    stored = np.empty(shape, dtype)

    def read(path: Path) -> None:
        places = [
            (target, channel, number)
            for target, channel, (source, number) in zip(stored, channels, sources, strict=True)
            if source == path
        ]
        _read_volumes(files[path], places)

    with ThreadPoolExecutor(min(cores(), len(files))) as pool:
        list(pool.map(read, files))
    return CaseImages(stored.transpose(0, 3, 2, 1), grid, first.header, grid.notes)


def read_case_grid(
    images: Sequence[Path], file_channels: Sequence[str], channels: Sequence[str]
) -> Grid:
    """Grid that `read_case` would return; raises its errors that the headers show."""
    sources = _sources(images, file_channels, channels)
    files = _inspect(images, file_channels, sources)
    return _common_grid(channels, sources, {p: f.grid for p, f in files.items()})


def read_first_slices(
    images: Sequence[Path], file_channels: Sequence[str]
) -> list[npt.NDArray[Any]]:
    """The first slice (J, I) of each file of a case; errors as in `read_case`."""
    volumes = len(file_channels) if len(images) == 1 else 1
    return [read_first_slice(path, str(path), volumes) for path in images]


def read_header(path: Path) -> tuple[Grid, Any]:
    """Grid and header of a NIfTI file, without decoding its voxels.

    Raises:
        ImageError: If the file is missing, damaged or not NIfTI, or its affine is degenerate.
    """
    header = read_raw_header(path, str(path))
    return grid_of(header, str(path)), header


def read_header_spacing_mm(path: Path) -> tuple[float, float, float]:
    """Voxel size along each axis by pixdim, which may differ from that of the affine, in mm.

    Raises:
        ImageError: If the file is missing, damaged or not NIfTI.
    """
    return header_spacing_mm(read_raw_header(path, str(path)))


def read_label_map(path: Path) -> tuple[npt.NDArray[np.uint8], Grid]:
    """Label map (I, J, K) and its grid; floating-point files are accepted when integral.

    Raises:
        ImageError: If the file is missing, damaged or not a 3D NIfTI.
        LabelError: If the file holds other values than integers from 0 to 255.
    """
    file = inspect_nifti(path, str(path), volumes=1, remedy="give one 3D label map of the case")
    values = file.values(file.read()[0]).transpose(2, 1, 0)
    if values.dtype == np.uint8:
        return values, file.grid
    label_map = np.empty(values.shape[::-1], np.uint8).transpose(2, 1, 0)
    bad, first = 0, values[:0, 0, 0]
    # Slice by slice, since label maps may need much memory.
    for number in range(values.shape[2]):
        wrong = _round(values[..., number], label_map[..., number])
        first = first if bad else wrong
        bad += wrong.size
    if bad:
        raise LabelError(
            f"{path} holds {first[0]} and {bad - 1} more such voxels, but a label map holds "
            "integers from 0 to 255",
            remedy="give the label map, not an image or a probability",
            path=path,
        )
    return label_map, file.grid


def _round(values: npt.NDArray[Any], labels: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """Write a slice of values into `labels`; returns the values that are not labels."""
    with np.errstate(invalid="ignore"):
        labels[...] = values.astype(np.uint8)
    if np.array_equal(labels, values):
        return values[:0, 0]
    # Scaling by the header leaves rounding errors.
    bad = ~np.isfinite(values) | (abs(values - np.rint(values)) > 1e-3)
    bad |= (values < -0.5) | (values > 255.5)
    with np.errstate(invalid="ignore"):
        labels[...] = np.rint(values).astype(np.uint8)
    return values[bad]


def _sources(
    images: Sequence[Path], file_channels: Sequence[str], channels: Sequence[str]
) -> list[tuple[Path, int]]:
    """File and volume number of each of `channels`."""
    if len(images) not in {1, len(file_channels)}:
        raise ImageError(
            f"{len(images)} files, but channels {' '.join(file_channels)}",
            remedy="give one file for each channel, or one 4D file",
        )
    missing = [channel for channel in channels if channel not in file_channels]
    if missing:
        raise ImageError(
            f"no {' '.join(missing)}, but only {' '.join(file_channels)}",
            remedy="add the missing image, or train with data.channel_dropout",
        )
    numbers = [file_channels.index(channel) for channel in channels]
    return [(images[0], n) if len(images) == 1 else (images[n], 0) for n in numbers]


def _inspect(
    images: Sequence[Path],
    file_channels: Sequence[str],
    sources: Sequence[tuple[Path, int]],
) -> dict[Path, NiftiFile]:
    """The needed files, by path, with their headers."""
    volumes = len(file_channels) if len(images) == 1 else 1
    paths = dict.fromkeys(path for path, _ in sources)
    return {path: inspect_nifti(path, str(path), volumes) for path in paths}


def _read_volumes(file: NiftiFile, places: Sequence[tuple[npt.NDArray[Any], str, int]]) -> None:
    """Fill arrays (K, J, I), each given with its channel and volume number."""
    target, *others = (place[0] for place in places)
    is_alike = file.is_plain and file.dtype.newbyteorder("=") == target.dtype
    if is_alike and file.shape[3] == 1 and not others:
        file.read_into(target)
    else:
        voxels = file.read()
        for target, _, number in places:
            target[...] = file.values(voxels[number])
    for target, channel, _ in places:
        check_values(target, f"{channel} in {file.path}")


def _common_grid(
    channels: Sequence[str],
    sources: Sequence[tuple[Path, int]],
    grids: Mapping[Path, Grid],
) -> Grid:
    """Grid of all channels of a case, with the notes of all; errors name the file."""
    first = grids[sources[0][0]]
    open_notes: dict[str, list[str]] = {}
    notes = []
    for channel, (path, _) in zip(channels, sources, strict=True):
        try:
            notes += check_same_grid({channels[0]: first, channel: grids[path]})
        except GeometryError as error:
            raise GeometryError(
                f"{path.name}: {error.problem}", remedy=error.remedy, path=path
            ) from None
        for note in grids[path].notes:
            open_notes.setdefault(note, []).append(channel)
    notes += [f"{', '.join(names)}: {note}" for note, names in open_notes.items()]
    return replace(first, notes=tuple(notes))
