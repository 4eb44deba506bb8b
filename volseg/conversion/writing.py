"""Writing of a case as NIfTI with new headers: nothing of the source but voxels and grid."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.cases.channels import LABEL
from volseg.conversion.channels import Chosen
from volseg.conversion.record import CaseRecord, FileRecord, harmless_notes
from volseg.errors import GeometryError, LabelError
from volseg.files.documents import open_regular
from volseg.files.writing import cannot_write, make_folder
from volseg.images.nifti_writing import header_on, write_image
from volseg.words import shown

_BLOCK_BYTES = 2**20
# Code of NIfTI for the world of the scanner.
_SCANNER = 1


def write_case(
    folder: Path, case_id: str, channels: Mapping[str, Chosen], refused: list[str]
) -> CaseRecord:
    """Write the channels of a case as `folder/CASE-CHANNEL.nii.gz`.

    Args:
        folder: Folder of the case, made by this function.
        case_id: Its name.
        channels: Series by channel.
        refused: Channels without clear evidence, for the record.

    Returns:
        The record of the case.

    Raises:
        VolsegError: If a series cannot be read, or a file not written.
    """
    make_folder(folder, "choose another with -o")
    files = {}
    for channel, chosen in channels.items():
        content = "seg" if channel == LABEL else channel
        path = folder / f"{case_id}-{content}.nii.gz"
        files[content] = _write(path, chosen, is_label=channel == LABEL)
    return CaseRecord(channels=files, refused=refused)


def _write(path: Path, chosen: Chosen, *, is_label: bool) -> FileRecord:
    series = chosen.series
    voxels = series.read()
    if voxels.shape != series.grid.shape:
        raise GeometryError(
            f"{series.name} has shape {voxels.shape}, but its grid {series.grid.shape}",
            remedy="export the series again",
        )
    stored = _label_map(voxels, series.name) if is_label else as_stored(voxels)
    grid = series.grid
    write_image(path, stored, header_on(grid, _SCANNER))
    try:
        size, digest = path.stat().st_size, digest_of(path)
    except OSError as error:
        raise cannot_write(path, error) from None
    return FileRecord(
        file=path.name,
        bytes=size,
        sha256=digest,
        shape=list(grid.shape),
        spacing_mm=[round(size, 6) for size in grid.spacing_mm],
        orientation=grid.orientation,
        evidence=list(chosen.reasons),
        notes=harmless_notes(series),
    )


def as_stored(voxels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Grey values in the smallest type that is exact: int16, uint16, int32; fractions as float32.

    >>> as_stored(np.array([0, 40000])).dtype, as_stored(np.array([0.5])).dtype
    (dtype('uint16'), dtype('float32'))
    """
    if voxels.dtype.kind in "iub" and voxels.size:
        least, most = int(voxels.min()), int(voxels.max())
        for name in ("int16", "uint16", "int32"):
            limits = np.iinfo(name)
            if limits.min <= least and most <= limits.max:
                return voxels.astype(f"<{limits.dtype.str[1:]}")
    return voxels.astype("<f4")


def _label_map(voxels: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint8]:
    """Labels as uint8; LabelError if they are no integers from 0 to 255."""
    with np.errstate(invalid="ignore"):
        labels = voxels.astype(np.uint8)
    if not np.array_equal(labels, voxels):
        other = voxels[labels != voxels][0].item()
        raise LabelError(
            f"label map {name} holds {shown(other)}, expected integers from 0 to 255",
            remedy="correct it, or leave it out",
        )
    return labels


def digest_of(path: Path) -> str:
    """SHA-256 of a file; OSError if it cannot be read."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
