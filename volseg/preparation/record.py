"""Record of a prepared case: where each channel came from, how it was moved, what was written.

`preparation/CASE.json` in the folder of prepared cases. A label map on the prepared grid returns to
the grid of any source by the record alone, without the source.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import nibabel as nib
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from volseg.cases.case import Case
from volseg.cases.sources import has_fingerprint
from volseg.errors import DataListError
from volseg.files.documents import read_json, validated
from volseg.files.ownership import PREPARATION_FOLDER
from volseg.files.writing import atomic_write
from volseg.images.grid import Affine, Grid
from volseg.images.nifti_writing import geometry_of, set_geometry

#: How a channel came to the prepared grid: it is the reference channel, it lay on that already, or
#: it was registered to it.
Alignment = Literal["reference", "already aligned", "registered"]

_Row = tuple[float, float, float, float]
_Matrix = tuple[_Row, _Row, _Row, _Row]
_Size = Annotated[int, Field(gt=0, le=2**15)]
_REMEDY = "prepare the case again"
# A record has a few kB for each channel and step.
_MOST_BYTES = 2**22

#: Share of the brain below which a channel is said to cover a part of it.
ALMOST_ALL = 0.99


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileMark(_Part):
    """A file by path, size, times and SHA-256; see `cases.sources.fingerprint`."""

    path: str
    bytes: int
    time_ns: int
    changed_ns: int
    sha256: str


class RecordedGrid(_Part):
    """A grid, with the fields of a NIfTI header that hold it to the last bit.

    Attributes:
        shape: Voxels along each axis.
        affine: Matrix from voxel indices to world coordinates (RAS, mm).
        version: Version of NIfTI, 1 or 2.
        geometry: Fields of the header.
    """

    shape: tuple[_Size, _Size, _Size]
    affine: _Matrix
    version: Literal[1, 2] = 1
    geometry: Mapping[str, float | tuple[float, ...]]

    @classmethod
    def of(cls, grid: Grid, header: Any) -> Self:
        """The grid of an image and its header."""
        version: Literal[1, 2] = 2 if isinstance(header, nib.Nifti2Header) else 1
        return cls(
            shape=grid.shape,
            affine=matrix_rows(grid.affine),
            version=version,
            geometry=geometry_of(header),
        )

    @property
    def grid(self) -> Grid:
        """The grid."""
        return Grid(self.shape, np.array(self.affine))

    def header(self) -> Any:
        """A NIfTI header on exactly this grid, from which `images.nifti_writing` writes."""
        kind: Any = nib.Nifti2Header if self.version == 2 else nib.Nifti1Header
        header = kind()
        header.set_data_shape(self.shape)
        set_geometry(header, self.geometry)
        return header


class PreparedChannel(_Part):
    """A channel of a prepared case.

    Attributes:
        source: File that it was read from.
        native: Grid of that file.
        matrix: World coordinates (RAS, mm) of the prepared grid to those of the native grid.
        alignment: How it came to the reference channel.
        moved_mm: How far registration moved it, on average over the head.
        quality: Figures of that, by name.
        coverage: Share of the brain that lies within its file; it is 0 in the rest.
        file: The written file; its path is relative to the folder of prepared cases.
    """

    source: str
    native: RecordedGrid
    matrix: _Matrix
    alignment: Alignment
    moved_mm: float = 0.0
    quality: Mapping[str, float]
    coverage: float = 1.0
    file: FileMark

    @property
    def covers_brain(self) -> bool:
        """Whether nearly all of the brain lies within its file."""
        return self.coverage >= ALMOST_ALL

    @property
    def world_matrix(self) -> Affine:
        """`matrix` as an array (4, 4)."""
        return np.array(self.matrix)


class Step(_Part):
    """A step of the preparation.

    Attributes:
        name: What was done, such as "registration of t2f to t1c".
        seconds: Duration.
        outcome: What came of it, in words.
        quality: Figures by name.
        matrix: Transform that was found, world to world; None: the step has none.
    """

    name: str
    seconds: float
    outcome: str
    quality: Mapping[str, float] = {}
    matrix: _Matrix | None = None


class MaskRecord(_Part):
    """The brain mask.

    Attributes:
        method: How it was found.
        volume_ml: Its volume.
        notes: What it assumes.
        source: File of the user that holds it, if it was given.
    """

    method: str
    volume_ml: float
    notes: tuple[str, ...] = ()
    source: FileMark | None = None


class PreparationRecord(_Part):
    """What became of a case.

    Attributes:
        volseg: Version that wrote it.
        preparation: Version of this form.
        case_id: The case.
        options: Options that decide the result.
        sources: Files of the images, in the order of the case.
        label_source: File of the label map, if the case has one.
        labels: Its label scheme, if the source names it.
        reference: Channel that the others were moved to; label maps return to its grid first.
        space: Name of the channel or atlas that the case lies on.
        atlas_sha256: Digest of the atlas, if there is one.
        grid: Grid of all written files.
        channels: The channels, by name.
        label: The label map that was written, if the case has one.
        mask: The brain mask; None: the skull was left on.
        steps: Steps in order.
        notes: Assumptions and oddities.
        seconds: Duration of the case.
        peak_memory_bytes: Most memory that its process had until then; None: unknown.
    """

    volseg: str
    preparation: Literal[1] = 1
    case_id: str
    options: Mapping[str, Any]
    sources: tuple[FileMark, ...]
    label_source: FileMark | None = None
    labels: str | None = None
    reference: str
    space: str
    atlas_sha256: str | None = None
    grid: RecordedGrid
    channels: Mapping[str, PreparedChannel]
    label: FileMark | None = None
    mask: MaskRecord | None = None
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    seconds: float
    peak_memory_bytes: int | None = None

    @property
    def files(self) -> tuple[FileMark, ...]:
        """All files that were written, with paths relative to the folder of prepared cases."""
        of_channels = tuple(channel.file for channel in self.channels.values())
        return of_channels if self.label is None else (*of_channels, self.label)


def matrix_rows(matrix: Affine) -> _Matrix:
    """A matrix (4, 4) as rows of Python numbers, which JSON keeps to the last bit."""
    a, b, c, d = (_row(row) for row in np.asarray(matrix, np.float64))
    return a, b, c, d


def _row(row: Any) -> _Row:
    i, j, k, offset = (float(value) for value in row)
    return i, j, k, offset


def record_path(folder: Path, case_id: str) -> Path:
    """Path of the record of a case in a folder of prepared cases."""
    return folder / PREPARATION_FOLDER / f"{case_id}.json"


def write_record(folder: Path, record: PreparationRecord) -> None:
    """Write the record of a case.

    Raises:
        OutputError: If it cannot be written, or another program's file is in its place.
    """
    text = json.dumps(record.model_dump(mode="json"), indent=1)
    with atomic_write(record_path(folder, record.case_id)) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_record(path: Path) -> PreparationRecord:
    """The record in a file.

    Raises:
        DataListError: If the file cannot be read or is no such record.
    """
    content = read_json(path, DataListError, remedy=_REMEDY, limit=_MOST_BYTES)
    try:
        record = PreparationRecord.model_validate(validated(PreparationRecord, content))
    except ValueError as error:
        raise DataListError(
            f"{path} is no record of volseg prepare ({error})", remedy=_REMEDY, path=path
        ) from None
    if record.reference not in record.channels:
        raise DataListError(
            f"{path} names {record.reference} as reference, but has no such channel",
            remedy=_REMEDY,
            path=path,
        )
    return record


def is_prepared(case: Case) -> bool:
    """Whether there is a record of the case beside its images."""
    return _record_file(case).is_file()


def find_record(case: Case) -> PreparationRecord | None:
    """The record of a case whose images `volseg prepare` wrote; None: it wrote none of them.

    Raises:
        DataListError: If the record cannot be read, or an image was changed after it was written.
    """
    if not is_prepared(case):
        return None
    path = _record_file(case)
    record, home = read_record(path), path.parent.parent
    written = {home / mark.path: mark for mark in record.files}
    for image in (path.absolute() for path in case.images):
        if image not in written:
            raise DataListError(
                f"{image} is not among the files that {path} records", remedy=_REMEDY, path=image
            )
        try:
            is_same = has_fingerprint(image, written[image].model_dump())
        except OSError:
            is_same = False
        if not is_same:
            raise DataListError(
                f"{image} was changed after it was prepared", remedy=_REMEDY, path=image
            )
    return record


def _record_file(case: Case) -> Path:
    """Where the record of a case is, if `volseg prepare` wrote its images."""
    folder = case.images[0].absolute().parent
    return record_path(folder.parent, folder.name)
