"""A small folder as a hospital exports it: patients, studies and series mixed, and other files."""

from __future__ import annotations

import shutil

import numpy as np
from dicom_files import PHI, Header, apply, save, uid, write_series
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage

#: Tags of each sequence by manufacturer, as scanners write them.
SIEMENS = {
    "t1n": {
        "SeriesDescription": "t1_mprage_sag_p2_iso",
        "ScanningSequence": ["GR", "IR"],
        "SequenceVariant": ["SK", "SP", "MP"],
        "SequenceName": "*tfl3d1_16ns",
        "MRAcquisitionType": "3D",
        **{"RepetitionTime": "1900", "EchoTime": "2.26", "InversionTime": "900", "FlipAngle": "9"},
    },
    "t1c": {
        "SeriesDescription": "t1_mprage_sag_p2_iso_KM",
        "ScanningSequence": ["GR", "IR"],
        "SequenceVariant": ["SK", "SP", "MP"],
        "SequenceName": "*tfl3d1_16ns",
        "MRAcquisitionType": "3D",
        "ContrastBolusAgent": "Gadovist",
        **{"RepetitionTime": "1900", "EchoTime": "2.26", "InversionTime": "900", "FlipAngle": "9"},
    },
    "t2w": {
        "SeriesDescription": "t2_tse_tra_512",
        "ScanningSequence": "SE",
        "SequenceVariant": ["SK", "SP", "OSP"],
        "SequenceName": "*tse2d1_18",
        "MRAcquisitionType": "2D",
        "EchoTrainLength": "18",
        **{"RepetitionTime": "6000", "EchoTime": "100", "FlipAngle": "150"},
    },
    "t2f": {
        "SeriesDescription": "t2_tirm_tra_dark-fluid_4mm",
        "ScanningSequence": ["SE", "IR"],
        "SequenceVariant": ["SK", "SP", "MP", "OSP"],
        "SequenceName": "*tir2d1_16fs",
        "MRAcquisitionType": "2D",
        "EchoTrainLength": "16",
        **{"RepetitionTime": "9000", "EchoTime": "84", "InversionTime": "2500"},
    },
}
GE = {
    "t1n": {
        "SeriesDescription": "AX T1 SE",
        "ScanningSequence": "SE",
        "SequenceVariant": "SK",
        "MRAcquisitionType": "2D",
        **{"RepetitionTime": "550", "EchoTime": "12", "FlipAngle": "90", "EchoTrainLength": "1"},
    },
    "t1c": {
        "SeriesDescription": "AX T1 SE +C",
        "ScanningSequence": "SE",
        "SequenceVariant": "SK",
        "MRAcquisitionType": "2D",
        "ContrastBolusAgent": "10ML GADAVIST",
        **{"RepetitionTime": "550", "EchoTime": "12", "FlipAngle": "90", "EchoTrainLength": "1"},
    },
    "t2w": {
        "SeriesDescription": "AX T2 FRFSE",
        "ScanningSequence": "SE",
        "SequenceVariant": "SK",
        "MRAcquisitionType": "2D",
        **{"RepetitionTime": "4500", "EchoTime": "102", "FlipAngle": "90", "EchoTrainLength": "24"},
    },
    "t2f": {
        "SeriesDescription": "AX T2 FLAIR",
        "ScanningSequence": ["SE", "IR"],
        "SequenceVariant": "SK",
        "MRAcquisitionType": "2D",
        **{"RepetitionTime": "9500", "EchoTime": "125", "InversionTime": "2250"},
    },
}

#: Intensities of scalp, skull, brain, edema, core and enhancing rim in each sequence.
_TISSUE = {
    "t1n": (900, 80, 500, 380, 300, 420),
    "t1c": (900, 80, 520, 390, 310, 1100),
    "t2w": (500, 60, 400, 900, 1000, 850),
    "t2f": (450, 60, 380, 950, 600, 800),
}
#: Columns, rows, slices and voxel size in mm of each plane of acquisition.
_GRIDS = {"sagittal": ((44, 48, 30), (5, 5, 6)), "axial": ((48, 52, 22), (4.5, 4.5, 8))}


def head(affine, shape, sequence):
    """A head with scalp, skull, brain and a tumour with a rim, sampled on a grid, as uint16."""
    voxels = np.moveaxis(np.indices(shape), 0, -1)
    points = voxels @ affine[:3, :3].T + affine[:3, 3]
    scalp, skull, brain, edema, core, rim = _TISSUE[sequence]
    rng = np.random.default_rng(len(sequence) + shape[2])
    image = rng.integers(0, 12, shape).astype(np.float64)

    def inside(centre, radii):
        return (((points - centre) / radii) ** 2).sum(axis=-1) < 1

    for radii, value in [((80, 100, 85), scalp), ((73, 93, 78), skull), ((67, 87, 60), brain)]:
        image[inside((0, 0, 0), radii)] = value
    for radius, value in [(28, edema), (18, rim), (12, core)]:
        image[inside((30, 20, 15), (radius, radius, radius))] = value
    return (image + rng.integers(0, 20, shape)).astype(np.uint16)


def grid(name, tilt_deg=0.0, shift_mm=(0, 0, 0)):
    """Shape and RAS affine of a plane of acquisition around the origin, turned about the x axis."""
    shape, size = _GRIDS[name]
    axes = {
        "axial": np.array([[-1, 0, 0], [0, -1, 0], [0, 0, 1.0]]).T,
        "sagittal": np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0.0]]).T,
        "coronal": np.array([[-1, 0, 0], [0, 0, -1], [0, 1, 0.0]]).T,
    }[name]
    c, s = np.cos(np.radians(tilt_deg)), np.sin(np.radians(tilt_deg))
    steps = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ axes @ np.diag(size)
    affine = np.eye(4)
    affine[:3, :3] = steps
    affine[:3, 3] = np.array(shift_mm) - steps @ ((np.array(shape) - 1) / 2)
    return shape, affine


def write_study(folder, patient, study, date, sequences=SIEMENS, tags=None, **writing):
    """Write the four channels of a study, each on its own grid; returns paths by channel."""
    planes = {
        "t1n": grid("sagittal") if sequences is SIEMENS else grid("axial", 5),
        "t1c": grid("sagittal", 0, (1, 2, 0)) if sequences is SIEMENS else grid("axial", 5),
        "t2w": grid("axial", 12),
        "t2f": grid("axial", 12, (0, 1, 1)),
    }
    written = {}
    order = ("t2f", "t2w", "t1n", "t1c")  # contrast agent comes last
    for number, channel in enumerate(order, start=2):
        shape, affine = planes[channel]
        header = Header(
            patient=patient,
            study=study,
            series=str(number),
            private=f"SECRETP {patient}",
            tags={
                **PHI,
                "Manufacturer": "SIEMENS" if sequences is SIEMENS else "GE MEDICAL SYSTEMS",
                "StudyDescription": "MR Neurocranium",
                "MagneticFieldStrength": "3",
                "BodyPartExamined": "BRAIN",
                "SeriesNumber": number,
                **dict.fromkeys(("StudyDate", "SeriesDate", "AcquisitionDate"), date),
                "AcquisitionTime": f"10{10 * number - 10:02d}00",
                "ProtocolName": sequences[channel]["SeriesDescription"],
                **sequences[channel],
                **(tags or {}),
            },
        )
        place = folder / f"{number:03d}"
        image = head(affine, shape, channel)
        written[channel] = write_series(place, image, affine, header, **writing)
    return written


def write_hospital(folder):
    """Write two patients with three studies, and what else lies in a hospital's folder.

    Patient A (`ID-A`) has studies of 2020-03-04 and 2020-06-09 (Siemens, sagittal T1), patient B
    (`ID-B`) a study of 2021-01-02 (GE, implicit little endian without preamble). The first study
    of A also holds a localiser, an MPR, an ADC map, a subtraction and a copy of a series.
    Besides: README.txt, a PDF in DICOM, a screenshot and a DICOMDIR
    that is none.

    Returns:
        Paths by study (`A1`, `A2`, `B1`) and channel.
    """
    first = folder / "A" / "ST0001"
    written = {
        "A1": write_study(first, "A", "first", "20200304"),
        "A2": write_study(folder / "A" / "ST0002", "A", "second", "20200609"),
        "B1": write_study(
            folder / "B", "B", "first", "20210102", GE, syntax="implicit", preamble=False
        ),
    }
    _write_localiser(first / "001")
    _write_derived(first)
    shutil.copytree(first / "004", first / "copy of 004")
    _write_others(first, folder)
    return written


def _tags(**tags):
    return {**PHI, "Manufacturer": "SIEMENS", "SeriesNumber": 1, **tags}


def _write_localiser(folder):
    for n, plane in enumerate(("sagittal", "axial", "coronal")):
        shape, affine = grid("axial")
        affine[:3, :3] = grid("sagittal" if plane == "sagittal" else "axial", 7 * n)[1][:3, :3]
        tags = _tags(SeriesDescription="localizer", ScanningSequence="GR", SequenceVariant="SK")
        header = Header(patient="A", series="1", tags=tags)
        write_series(folder, head(affine, (*shape[:2], 3), "t1n"), affine, header, first=3 * n + 1)


def _write_derived(folder):
    shape, affine = grid("axial", 12)
    for number, description, kinds in (
        (20, "t1_mprage_tra_MPR", ["DERIVED", "PRIMARY", "MPR", "NORM"]),
        (21, "ep2d_diff_ADC", ["DERIVED", "PRIMARY", "DIFFUSION", "ADC", "NORM"]),
        (22, "t1_SUB", ["DERIVED", "PRIMARY", "M", "SUBTRACT"]),
    ):
        tags = _tags(SeriesDescription=description, ImageType=kinds, SeriesNumber=number)
        header = Header(patient="A", series=str(number), tags=tags)
        image = head(affine, (*shape[:2], 4), "t2w")
        write_series(folder / f"{number:03d}", image, affine, header)


def _write_others(study, folder):
    (folder / "README.txt").write_text("Patients of SECRETX\n")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "viewer.exe").write_bytes(b"MZ" + bytes(200))
    pdf = Header(patient="A", series="90", modality="DOC").dataset()
    pdf.SOPClassUID, pdf.SOPInstanceUID = EncapsulatedPDFStorage, uid("pdf")
    pdf.EncapsulatedDocument, pdf.MIMETypeOfEncapsulatedDocument = b"%PDF-1.4 ", "application/pdf"
    del pdf.ImageType
    save(pdf, study / "090" / "report.dcm")
    shot = Header(patient="A", series="91", modality="OT").dataset()
    shot.SOPClassUID, shot.SOPInstanceUID = SecondaryCaptureImageStorage, uid("screenshot")
    apply(shot, {"ImageType": ["DERIVED", "SECONDARY"], "BurnedInAnnotation": "YES"})
    shot.Rows = shot.Columns = 8
    shot.SamplesPerPixel, shot.PhotometricInterpretation, shot.PlanarConfiguration = 3, "RGB", 0
    shot.BitsAllocated = shot.BitsStored = 8
    shot.HighBit, shot.PixelRepresentation, shot.PixelData = 7, 0, bytes(192)
    save(shot, study / "091" / "screen.dcm")
