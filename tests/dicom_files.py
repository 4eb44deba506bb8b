"""Writes synthetic DICOM files for the tests: series of slices, multi-frame files, mosaics."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

#: Transfer syntaxes by the names that tests use.
SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "RLE": RLELossless,
    "JPEG lossless": JPEGLosslessSV1,
    "JPEG-LS": JPEGLSLossless,
    "JPEG 2000": JPEG2000Lossless,
}
_RAW = ("explicit", "implicit", "big endian")
_CLASSES = {"MR": MRImageStorage, "CT": CTImageStorage}
_ENHANCED = {"MR": EnhancedMRImageStorage, "CT": EnhancedCTImageStorage}

#: What identifies a patient of a test beyond name and id; none of it may reach an output.
PHI = {
    "PatientAddress": "7 Secret Lane",
    "OtherPatientNames": "SECRETA^MAIDEN",
    "PatientComments": "neighbour of SECRETB",
    "InstitutionName": "SECRETC Hospital",
    "ReferringPhysicianName": "SECRETD^DOCTOR",
    "AccessionNumber": "SECRETE",
    "StationName": "SECRETF",
    "OperatorsName": "SECRETG^OPERATOR",
    "PatientTelephoneNumbers": "SECRETH",
}


@dataclass
class Header:
    """What all files of a series share.

    Attributes:
        tags: Values by DICOM keyword; a value of None removes the element.
        patient, study, series: Names that UIDs and the defaults of patient and study follow from.
        private: Text of a private element, in a block such as scanners add.
    """

    tags: dict = field(default_factory=dict)
    modality: str = "MR"
    patient: str = "P1"
    study: str = "first"
    series: str = "1"
    private: str | None = None

    @property
    def series_uid(self):
        return uid(self.patient, self.study, self.series)

    def dataset(self):
        """Dataset with patient, study, series and tags, without pixels."""
        ds = Dataset()
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.PatientName, ds.PatientID = f"SECRET^{self.patient}", f"ID-{self.patient}"
        ds.PatientBirthDate, ds.PatientSex = "19500102", "F"
        ds.StudyInstanceUID = uid(self.patient, self.study)
        ds.SeriesInstanceUID = self.series_uid
        ds.FrameOfReferenceUID = uid(self.patient, self.study, "frame")
        ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20200304"
        ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101500"
        ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber = "1", 1, 1
        ds.Modality, ds.Manufacturer = self.modality, "Maker"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M"] if self.modality == "MR" else _AXIAL
        if self.private is not None:
            ds.private_block(0x0009, "SECRET MAKER", create=True).add_new(1, "LO", self.private)
        return ds


_AXIAL = ["ORIGINAL", "PRIMARY", "AXIAL"]


def uid(*names):
    """A UID that follows from names."""
    return generate_uid(entropy_srcs=["volseg tests", *map(str, names)])


def apply(ds, tags):
    """Set elements by keyword; None removes an element."""
    for keyword, value in tags.items():
        if value is None:
            if keyword in ds:
                delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)


def plane(affine):
    """Orientation, row and column spacing, and matrix in LPS, of a RAS affine."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(affine, float)
    columns, rows = np.linalg.norm(lps[:3, :2], axis=0)
    orientation = [*(lps[:3, 0] / columns), *(lps[:3, 1] / rows)]
    return [ds_number(x) for x in orientation], [ds_number(rows), ds_number(columns)], lps


def ds_number(value):
    """A number as 16 characters, the most that a decimal string holds."""
    return f"{value:.10f}"[:16]


def set_pixels(ds, frames):
    """Pixels of one slice (I, J), or of frames (I, J, K), 8 or 16 bits, signed or not."""
    frames = np.asarray(frames)
    stored = np.moveaxis(frames, 2, 0).swapaxes(1, 2) if frames.ndim == 3 else frames.T
    if frames.ndim == 3:
        ds.NumberOfFrames = frames.shape[2]
    ds.Rows, ds.Columns = frames.shape[1], frames.shape[0]
    ds.SamplesPerPixel = 1
    if "PhotometricInterpretation" not in ds:
        ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8 * frames.dtype.itemsize
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(frames.dtype.kind == "i")
    ds.PixelData = np.ascontiguousarray(stored).tobytes()
    ds["PixelData"].VR = "OW"


def save(ds, path, syntax="explicit", preamble=True):
    """Write a dataset in one of `SYNTAXES`; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = syntax if syntax in _RAW else "explicit"
    little = raw != "big endian"
    if not little:
        width = ds.BitsAllocated // 8
        ds.PixelData = np.frombuffer(ds.PixelData, f"<u{width}").byteswap().tobytes()
    if preamble:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = ds.SOPClassUID
        meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        meta.TransferSyntaxUID = SYNTAXES[raw]
        ds = FileDataset(path, ds, file_meta=meta, preamble=b"\0" * 128)
    dcmwrite(
        path, ds, enforce_file_format=preamble, implicit_vr=raw == "implicit", little_endian=little
    )
    if syntax not in _RAW:
        compress(path, syntax)
    return path


def compress(path, syntax):
    """Compress a file in place with GDCM."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    kinds = gdcm.TransferSyntax
    wanted = {
        "RLE": kinds.RLELossless,
        "JPEG lossless": kinds.JPEGLosslessProcess14_1,
        "JPEG-LS": kinds.JPEGLSLossless,
        "JPEG 2000": kinds.JPEG2000Lossless,
    }[syntax]
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(wanted))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def write_series(
    folder,
    array,
    affine,
    header=None,
    *,
    syntax="explicit",
    preamble=True,
    slopes=None,
    first=1,
    each=None,
    pattern="IM{:04d}.dcm",
):
    """Write a volume as files of one slice; returns their paths in the order of the third axis.

    Args:
        folder: Folder of the files.
        array: Voxels (I, J, K) as stored.
        affine: RAS affine of the array; a sheared third column is a tilted gantry.
        header: What the files share.
        syntax: One of `SYNTAXES`.
        preamble: Whether the files begin with a preamble and meta information.
        slopes: (slope, intercept) of all slices, or a list of one pair a slice.
        first: Instance Number of the first slice.
        each: Function of the number of a slice to more tags of its file.
        pattern: Names of the files by Instance Number.
    """
    header = header or Header()
    orientation, spacing, lps = plane(affine)
    paths = []
    for k in range(array.shape[2]):
        ds = header.dataset()
        ds.SOPClassUID = _CLASSES.get(header.modality, MRImageStorage)
        ds.SOPInstanceUID = uid(header.series_uid, first + k)
        ds.InstanceNumber = first + k
        ds.ImageOrientationPatient, ds.PixelSpacing = orientation, spacing
        position = lps @ [0, 0, k, 1]
        ds.ImagePositionPatient = [ds_number(x) for x in position[:3]]
        ds.SliceThickness = ds_number(np.linalg.norm(lps[:3, 2]))
        if slopes is not None:
            slope, intercept = slopes if isinstance(slopes, tuple) else slopes[k]
            ds.RescaleSlope, ds.RescaleIntercept = str(slope), str(intercept)
        apply(ds, header.tags)
        apply(ds, each(k) if each else {})
        set_pixels(ds, array[:, :, k])
        paths.append(save(ds, folder / pattern.format(first + k), syntax, preamble))
    return paths


def write_multi_frame(path, volumes, affine, header=None, *, syntax="explicit", slopes=None):
    """Write volumes (I, J, K) as one enhanced file, each volume at its temporal position."""
    header = header or Header()
    orientation, spacing, lps = plane(affine)
    ds = header.dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = _ENHANCED[header.modality], uid(header.series_uid, "file")
    ds.InstanceNumber = 1
    shared = Dataset()
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=orientation)]
    shared.PixelMeasuresSequence = [
        _item(PixelSpacing=spacing, SliceThickness=ds_number(np.linalg.norm(lps[:3, 2])))
    ]
    if header.modality == "MR":
        shared.MREchoSequence = [_item(EffectiveEchoTime=90.0)]
        shared.MRTimingAndRelatedParametersSequence = [
            _item(RepetitionTime="4000", FlipAngle="150", EchoTrainLength=12)
        ]
        ds.ImageType = ["ORIGINAL", "PRIMARY", "T2", "NONE"]
        ds.AcquisitionContrast, ds.MRAcquisitionType = "T2", "2D"
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [
        _frame(lps, k, time, (slopes or {}).get((time, k)))
        for time, volume in enumerate(volumes)
        for k in range(volume.shape[2])
    ]
    organization = uid(header.series_uid, "dimensions")
    ds.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=organization)]
    ds.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID=organization,
            DimensionIndexPointer=pointer,
            FunctionalGroupPointer=0x00209111,
        )
        for pointer in (0x00209056, 0x00209057, 0x00209128)
    ]
    apply(ds, header.tags)
    set_pixels(ds, np.concatenate(volumes, axis=2))
    return save(ds, path, syntax)


def _frame(lps, k, time, slope):
    frame = Dataset()
    position = [ds_number(x) for x in (lps @ [0, 0, k, 1])[:3]]
    frame.PlanePositionSequence = [_item(ImagePositionPatient=position)]
    frame.FrameContentSequence = [
        _item(
            StackID="1",
            InStackPositionNumber=k + 1,
            TemporalPositionIndex=time + 1,
            DimensionIndexValues=[1, k + 1, time + 1],
        )
    ]
    if slope is not None:
        frame.PixelValueTransformationSequence = [
            _item(RescaleSlope=str(slope[0]), RescaleIntercept=str(slope[1]), RescaleType="US")
        ]
    return frame


def _item(**tags):
    ds = Dataset()
    apply(ds, tags)
    return ds


def write_mosaic(path, array, affine, header=None):
    """Write a volume as one Siemens mosaic, with the private header that gives its geometry."""
    header = header or Header()
    orientation, spacing, lps = plane(affine)
    columns, rows, slices = array.shape
    side = int(np.ceil(np.sqrt(slices)))
    tiled = np.zeros((columns * side, rows * side), array.dtype)
    for k in range(slices):
        i, j = columns * (k % side), rows * (k // side)
        tiled[i : i + columns, j : j + rows] = array[:, :, k]
    # The scanner centres the whole mosaic where the slice lies.
    shift = [-(tiled.shape[0] - columns) / 2, -(tiled.shape[1] - rows) / 2, 0, 1]
    ds = header.dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, uid(header.series_uid, path.name)
    ds.Manufacturer, ds.InstanceNumber = "SIEMENS", 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    ds.ImageOrientationPatient, ds.PixelSpacing = orientation, spacing
    ds.ImagePositionPatient = [ds_number(x) for x in (lps @ shift)[:3]]
    step = np.linalg.norm(lps[:3, 2])
    ds.SliceThickness = ds.SpacingBetweenSlices = ds_number(step)
    block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    normal = [ds_number(x) for x in lps[:3, 2] / step]
    block.add_new(
        0x10, "OB", _csa({"NumberOfImagesInMosaic": [str(slices)], "SliceNormalVector": normal})
    )
    apply(ds, header.tags)
    set_pixels(ds, tiled)
    return save(ds, path)


def _csa(elements):
    """A Siemens CSA header, version 2, of texts by name."""
    parts = [b"SV10\4\3\2\1", struct.pack("<2I", len(elements), 77)]
    for name, values in elements.items():
        kind = b"IS" if name.startswith("Number") else b"FD"
        parts.append(struct.pack("<64si4s3i", name.encode(), len(values), kind, 6, len(values), 77))
        for value in values:
            text = value.encode() + b"\0"
            text += b"\0" * (-len(text) % 4)
            parts += [struct.pack("<4i", len(text), len(text), 77, len(text)), text]
    return b"".join(parts) + b"\0" * (sum(map(len, parts)) % 2)
