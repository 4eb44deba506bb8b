"""Header of a DICOM file: safe reading, and values of elements by keyword."""

from __future__ import annotations

import contextlib
import datetime
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from volseg.errors import ImageError
from volseg.files.documents import open_regular
from volseg.words import reason

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

# A slice that was copied badly must not go unnoticed at an end of a series.
_SUFFIXES = (".dcm", ".dicom", ".ima")
REMEDY = "export it again, or remove it"
# Private elements: Siemens CSA header, number of tiles and b-value; b-values of GE and Philips.
_PRIVATE = (0x00290010, 0x00291010, 0x0019100A, 0x0019100C, 0x00431039, 0x20011003)
_KEYWORDS = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    *("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "StudyTime", "SeriesTime"),
    *("AcquisitionTime", "ContentTime", "AcquisitionDateTime", "SpecificCharacterSet"),
    *("SeriesNumber", "AcquisitionNumber", "InstanceNumber", "SeriesDescription", "ProtocolName"),
    *("StudyDescription", "ImageType", "BodyPartExamined", "BurnedInAnnotation"),
    *("ScanningSequence", "SequenceVariant", "ScanOptions", "DiffusionBValue"),
    *("EchoPulseSequence", "EchoPlanarPulseSequence", "AcquisitionContrast", "TriggerTime"),
    *("EchoTime", "EchoNumbers", "RepetitionTime", "InversionTime", "DiffusionGradientOrientation"),
    *("TemporalPositionIdentifier", "ContrastBolusAgent", "ContrastBolusAgentSequence"),
    *("ConvolutionKernel", "ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"),
    *("SpacingBetweenSlices", "StackID", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"),
    *("PhotometricInterpretation", "BitsAllocated", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept"),
    *("ModalityLUTSequence", "LossyImageCompression", "SharedFunctionalGroupsSequence"),
    "PerFrameFunctionalGroupsSequence",
)


class NoDicomError(ImageError):
    """A file that is not DICOM."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ignore the warnings of pydicom, and keep them out of the log.

    Hospital files break rules of the standard in elements that do not matter here; what matters is
    checked where it is used. The warnings quote values, which may identify a patient.
    """
    logger = logging.getLogger("pydicom")
    disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled


def read_header(path: Path) -> tuple[Dataset, int]:
    """Elements of a DICOM file that volseg uses, and the number of bytes that follow them.

    The bytes that follow are those of the pixels, if the file has any. A file without preamble and
    meta information is read too.

    Raises:
        NoDicomError: If the file is not DICOM.
        ImageError: If it cannot be read.
        Exception: Almost any, if it is damaged; some only when an element is used.
    """
    try:
        with open_regular(path) as file:
            return _read(file, path)
    except OSError as error:
        raise ImageError(f"cannot be read ({reason(error)})", remedy=REMEDY, path=path) from error


def _read(file: BinaryIO, path: Path) -> tuple[Dataset, int]:
    from pydicom import dcmread

    start = file.read(132)
    if not start.strip(b"\0") and path.suffix.lower() in _SUFFIXES:
        raise ImageError("is empty, though named as a DICOM file", remedy=REMEDY, path=path)
    if start[128:] != b"DICM" and not _starts_like_dicom(start):
        raise NoDicomError("not a DICOM file")
    size = file.seek(0, 2)
    file.seek(0)
    tags: list[Any] = [*_KEYWORDS, *_PRIVATE]
    ds = dcmread(file, stop_before_pixels=True, force=True, specific_tags=tags)
    implicit, _ = ds.original_encoding
    # Tag and length of the pixels, if there are pixels.
    return ds, max(size - file.tell() - (8 if implicit else 12), 0)


def _starts_like_dicom(start: bytes) -> bool:
    """Whether a file without preamble begins with an element of group 2 or 8."""
    if len(start) < 16:
        return False
    little, big = int.from_bytes(start[:2], "little"), int.from_bytes(start[:2], "big")
    named = start[4:6].isalpha() and start[4:6].isupper()
    short = int.from_bytes(start[4:8], "little") <= 256
    return (little in (2, 8) and (named or short)) or (big in (2, 8) and named)


def syntax_of(ds: Dataset) -> str:
    """Transfer Syntax UID of a dataset; of one without meta information, as it was parsed."""
    from pydicom import uid

    said = str(getattr(ds, "file_meta", {}).get("TransferSyntaxUID", "") or "")
    if said:
        return said
    implicit, little = ds.original_encoding
    if implicit:
        return str(uid.ImplicitVRLittleEndian)
    return str(uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian)


def known_uid(uid: str) -> UID:
    """A UID of a file, which may be damaged, with what the standard says of it."""
    from pydicom.uid import UID

    with quiet():
        return UID(uid)


class Values:
    """Values of elements by keyword, from the first of several mappings that has the element."""

    def __init__(self, *sources: Mapping[str, Any]) -> None:
        self._sources = sources

    def get(self, keyword: str) -> Any:
        """The value, or None if it is missing or empty."""
        for source in self._sources:
            value = source.get(keyword)
            if value is not None and not (isinstance(value, str) and not value.strip()):
                return value
        return None

    def texts(self, keyword: str) -> tuple[str, ...]:
        """All values as text, without spaces around them."""
        value = self.get(keyword)
        if value is None:
            return ()
        several = value if _is_multiple(value) else (value,)
        return tuple(str(each).strip() for each in several)

    def text(self, keyword: str) -> str | None:
        """Values as one text, joined as DICOM writes them; None if missing."""
        return "\\".join(self.texts(keyword)) or None

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Exactly `count` finite numbers; None if missing or otherwise."""
        value = self.get(keyword)
        several = list(value) if _is_multiple(value) else [value]
        try:
            found = tuple(float(each) for each in several)
        except (TypeError, ValueError):
            return None
        return found if len(found) == count and all(map(math.isfinite, found)) else None

    def number(self, keyword: str) -> float | None:
        """The first number; None if missing or no finite number."""
        value = self.get(keyword)
        if _is_multiple(value):
            value = value[0] if len(value) else None
        try:
            found = float(value)
        except (TypeError, ValueError):
            return None
        return found if math.isfinite(found) else None

    def whole(self, keyword: str) -> int | None:
        """The first number if it is an integer."""
        found = self.number(keyword)
        return int(found) if found is not None and found == int(found) else None

    def date(self, *keywords: str) -> datetime.date | None:
        """The first date among elements, also in the old form with dots."""
        for keyword in keywords:
            digits = (self.text(keyword) or "").replace(".", "").replace("-", "")[:8]
            try:
                return datetime.datetime.strptime(digits, "%Y%m%d").date()
            except ValueError:
                continue
        return None

    def time(self, *keywords: str) -> datetime.time | None:
        """The first time of day among elements."""
        for keyword in keywords:
            digits = (self.text(keyword) or "").replace(":", "").partition(".")[0]
            try:
                return datetime.datetime.strptime(digits.ljust(6, "0")[:6], "%H%M%S").time()
            except ValueError:
                continue
        return None


def _is_multiple(value: Any) -> bool:
    from pydicom.multival import MultiValue

    return isinstance(value, (MultiValue, list, tuple))


def flat(ds: Dataset, *, nested: bool = False) -> dict[str, Any]:
    """Values of a dataset by keyword; a value that cannot be converted is left out.

    Args:
        ds: Dataset, or item of a sequence.
        nested: Add the values in the first item of each sequence, as of functional groups.
    """
    found: dict[str, Any] = {}
    for element in _elements(ds):
        found[element.keyword] = element.value
        if nested and element.VR == "SQ" and element.value:
            found |= flat(element.value[0], nested=True)
    return found


def _elements(ds: Dataset) -> Iterator[Any]:
    for tag in sorted(ds.keys()):
        try:
            element: Any = ds[tag]
        except Exception:  # conversion of a wrong value ends in almost any exception
            continue
        if element.keyword:
            yield element
