"""A hospital's folder of a synthetic head with its skull, at two examinations, as DICOM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dicom_files import PHI, Header, write_series
from hospital import SIEMENS
from skulls import with_skull

from volseg.images.grid import Grid
from volseg.phantoms.head import make_phantom
from volseg.preparation.volume import Volume

MM, SHAPE = 4.0, (60, 60, 39)
#: Dates of the examinations.
DATES = ("20200304", "20200609")
#: How far a channel was moved between two sequences, in mm.
_MOVED = {"t1n": (2, 0, 1), "t1c": (0, 0, 0), "t2w": (-4, 3, 6), "t2f": (5, -4, 3)}


@dataclass(frozen=True)
class Examination:
    """A head, and the grid on which each channel was written."""

    brain: Volume
    grids: dict[str, Grid]
    moved_mm: dict[str, tuple[float, float, float]]


def write_head(folder, channels):
    """Write two examinations of one patient; returns them in the order of their dates."""
    affine = np.diag([-MM, -MM, MM, 1.0])
    affine[:3, 3] = [118, 118, -76]
    phantom = make_phantom(np.random.default_rng(7), SHAPE)
    stripped = {name: Volume(phantom.images[name], Grid(SHAPE, affine)) for name in channels}
    return [_write(folder, date, with_skull(stripped, seed=3)) for date in DATES]


def _write(folder, date, head):
    grids = {}
    for number, (channel, volume) in enumerate(head.volumes.items(), start=2):
        shift = np.eye(4)
        shift[:3, 3] = _MOVED[channel]
        grids[channel] = Grid(volume.grid.shape, shift @ volume.grid.affine)
        tags = {
            **PHI,
            "SeriesNumber": number,
            "Manufacturer": "SIEMENS",
            "BodyPartExamined": "BRAIN",
            **dict.fromkeys(("StudyDate", "SeriesDate", "AcquisitionDate"), date),
            "AcquisitionTime": f"10{number:02d}00",
            **SIEMENS[channel],
        }
        values = np.clip(volume.values, 0, 32767).astype(np.uint16)
        header = Header(patient="HEAD", study=date, series=str(number), tags=tags)
        write_series(folder / date / f"S{number:03d}", values, grids[channel].affine, header)
    return Examination(Volume(head.brain.astype(np.uint8), head.grid), grids, _MOVED)
