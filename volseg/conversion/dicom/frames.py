"""Frames of DICOM files: the slices, with everything that sorting and geometry need.

A file of a classic series holds one frame, an enhanced file many, a Siemens mosaic one for each of
its tiles. The header itself is not kept: a folder may hold tens of thousands of files.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.conversion.dicom.facts import b_value_of, facts_of
from volseg.conversion.dicom.header import REMEDY, Values, flat, quiet, read_header, syntax_of
from volseg.conversion.dicom.mosaic import Tile, tiling_of
from volseg.conversion.dicom.scans import is_scan
from volseg.conversion.series import Facts, Patient, Study
from volseg.errors import ImageError
from volseg.words import reason

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Vector = tuple[float, ...]

# Values that may separate time points, best first; the second keyword is that of enhanced files.
_TIMES = (
    ("TemporalPositionIndex", "TemporalPositionIdentifier"),
    ("AcquisitionNumber", "FrameAcquisitionNumber"),
    ("AcquisitionTime", "FrameAcquisitionDateTime"),
    ("TriggerTime", "NominalCardiacTriggerDelayTime"),
    ("DiffusionGradientOrientation",),
    ("ContentTime",),
)


@dataclass(frozen=True, slots=True)
class Stored:
    """How the pixels of a file are stored.

    Attributes:
        path: The file.
        syntax: Transfer Syntax UID.
        bits: Bits allocated for a pixel; None if the file does not say it.
        signed: Whether pixels are signed.
        samples: Values of a pixel: more than 1 in colour images.
        photometric: Photometric Interpretation.
        padding: Pixel Padding Value, as stored.
        padding_limit: Pixel Padding Range Limit: the other end of the range of padding.
        frames: Number of frames.
        bytes_left: Bytes of the file from the pixels to its end.
        lossy: Whether the pixels were once compressed with loss.
        has_lut: Whether values follow from a table instead of slope and intercept.
    """

    path: Path
    syntax: str
    bits: int | None
    signed: bool
    samples: int
    photometric: str | None
    padding: int | None
    padding_limit: int | None
    frames: int
    bytes_left: int
    lossy: bool
    has_lut: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """One slice.

    Attributes:
        stored: Pixels of its file.
        index: Number of the frame in its file, from 0.
        tile: Place in a mosaic.
        instance: Instance Number, then number of the frame.
        rows: Pixels along a column.
        columns: Pixels along a row.
        orientation: Directions of rows and of columns (6,) in LPS.
        position: Position of the first pixel (3,) in LPS, in mm.
        spacing: Distances of rows and of columns in mm.
        between_mm: Distance of slices as the header states it.
        slope: Rescale Slope.
        intercept: Rescale Intercept.
        echo: Number of the echo.
        stack: ID of the stack in an enhanced file.
        times: Values that may separate time points, best first; see `_TIMES`.
        facts: Evidence for the channel.
    """

    stored: Stored
    index: int
    tile: Tile | None
    instance: tuple[int, int] | None
    rows: int | None
    columns: int | None
    orientation: Vector | None
    position: Vector | None
    spacing: Vector | None
    between_mm: float | None
    slope: float
    intercept: float
    echo: int | None
    stack: str | None
    times: tuple[Hashable, ...]
    facts: Facts


@dataclass(frozen=True, slots=True)
class DicomFile:
    """One file.

    Attributes:
        path: Its path.
        sop_class: SOP Class UID; empty if the file does not say it.
        sop_uid: SOP Instance UID.
        series_uid: Series Instance UID; empty if the file does not say it.
        person: What names the patient; its key is still empty.
        issuer: Who issued the Patient ID.
        study: The examination.
        frames: Its slices; empty if it is no scan of a volume.
    """

    path: Path
    sop_class: str
    sop_uid: str
    series_uid: str
    person: Patient
    issuer: str | None
    study: Study
    frames: tuple[Frame, ...]

    @property
    def facts(self) -> Facts:
        """Facts of its first frame."""
        return self.frames[0].facts


def read_file(path: Path) -> DicomFile:
    """Read the header of a file.

    Raises:
        NoDicomError: If the file is not DICOM.
        ImageError: If it cannot be read, is damaged or contradicts itself.
    """
    try:
        with quiet():
            return _file(path)
    except ImageError:
        raise
    except Exception as error:  # parsing of a damaged file ends in almost any exception
        raise ImageError(f"is damaged ({reason(error)})", remedy=REMEDY, path=path) from error


def _file(path: Path) -> DicomFile:
    ds, bytes_left = read_header(path)
    top = Values(flat(ds))
    sop_class = top.text("SOPClassUID") or _class_before(ds, path)
    study = Study(
        top.text("StudyInstanceUID") or "",
        top.date("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"),
        top.time("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"),
        top.text("StudyDescription"),
    )
    return DicomFile(
        path=path,
        sop_class=sop_class,
        sop_uid=top.text("SOPInstanceUID") or "",
        series_uid=top.text("SeriesInstanceUID") or "",
        person=_person(top),
        issuer=top.text("IssuerOfPatientID"),
        study=study,
        frames=tuple(_frames(ds, path, top, bytes_left)) if is_scan(sop_class) else (),
    )


def _class_before(ds: Dataset, path: Path) -> str:
    """SOP Class UID of a file that has it before the data set only, as a DICOMDIR has.

    Raises:
        ImageError: If the data set lacks it, as that of a file cut off within its header.
    """
    if not getattr(ds, "preamble", None) or path.name.upper() == "DICOMDIR":
        return ""
    sop_class = str(getattr(ds.file_meta, "MediaStorageSOPClassUID", ""))
    if not sop_class or is_scan(sop_class):
        raise ImageError("is cut off or damaged: it has no SOP Class UID", remedy=REMEDY, path=path)
    return sop_class


def _person(top: Values) -> Patient:
    return Patient(
        "",
        top.text("PatientID"),
        top.text("PatientName"),
        top.date("PatientBirthDate"),
        top.text("PatientSex"),
    )


def _frames(ds: Dataset, path: Path, top: Values, bytes_left: int) -> Iterator[Frame]:
    stored = _stored(path, syntax_of(ds), top, bytes_left)
    if "MOSAIC" in top.texts("ImageType"):
        yield from _tiles(ds, _frame(ds, stored, 0, top))
        return
    groups = ds.get("PerFrameFunctionalGroupsSequence") or ()
    if not groups:
        yield from (_frame(ds, stored, index, top) for index in range(stored.frames))
        return
    if len(groups) != stored.frames:
        raise ImageError(
            f"holds {stored.frames} frames, but describes {len(groups)}", remedy=REMEDY, path=path
        )
    shared = ds.get("SharedFunctionalGroupsSequence") or ()
    common = flat(shared[0], nested=True) if shared else {}
    whole = flat(ds)
    for index, group in enumerate(groups):
        yield _frame(ds, stored, index, Values(flat(group, nested=True), common, whole))


def _stored(path: Path, syntax: str, top: Values, bytes_left: int) -> Stored:
    return Stored(
        path=path,
        syntax=syntax,
        bits=top.whole("BitsAllocated"),
        signed=top.whole("PixelRepresentation") == 1,
        samples=top.whole("SamplesPerPixel") or 1,
        photometric=top.text("PhotometricInterpretation"),
        padding=_padding(top, "PixelPaddingValue"),
        padding_limit=_padding(top, "PixelPaddingRangeLimit"),
        frames=max(top.whole("NumberOfFrames") or 1, 1),
        bytes_left=bytes_left,
        lossy=top.text("LossyImageCompression") == "01",
        has_lut=top.get("ModalityLUTSequence") is not None,
    )


def _padding(top: Values, keyword: str) -> int | None:
    """A value that is signed as the pixels are; implicit files leave the sign open."""
    signed = top.whole("PixelRepresentation") == 1
    value = top.get(keyword)
    if isinstance(value, bytes):
        return int.from_bytes(value[:2], "little", signed=signed) if value else None
    number = top.whole(keyword)
    if number is None or not signed or number < 2**15:
        return number
    return number - 2**16


def _frame(ds: Dataset, stored: Stored, index: int, values: Values) -> Frame:
    instance = values.whole("InstanceNumber")
    b_value = b_value_of(ds, values)
    return Frame(
        stored=stored,
        index=index,
        tile=None,
        instance=None if instance is None else (instance, index),
        rows=values.whole("Rows"),
        columns=values.whole("Columns"),
        orientation=values.numbers("ImageOrientationPatient", 6),
        position=values.numbers("ImagePositionPatient", 3),
        spacing=values.numbers("PixelSpacing", 2),
        between_mm=values.number("SpacingBetweenSlices"),
        slope=1.0 if (slope := values.number("RescaleSlope")) is None else slope,
        intercept=values.number("RescaleIntercept") or 0.0,
        echo=values.whole("EchoNumbers"),
        stack=values.text("StackID"),
        times=tuple(values.text(keywords[0]) or values.text(keywords[-1]) for keywords in _TIMES),
        facts=facts_of(values, b_value),
    )


def _tiles(ds: Dataset, mosaic: Frame) -> Iterator[Frame]:
    tiling = tiling_of(ds, mosaic)
    for number, position in enumerate(tiling.positions):
        yield replace(
            mosaic,
            tile=Tile(number, tiling.side),
            instance=None if mosaic.instance is None else (mosaic.instance[0], number),
            rows=tiling.rows,
            columns=tiling.columns,
            position=position,
        )
