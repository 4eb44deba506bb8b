"""Calibration of written maps of probability, of a case and of all cases."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from volseg.confidence.temperature import tempered
from volseg.errors import GeometryError, VolsegError
from volseg.evaluation.pairs import CasePair
from volseg.evaluation.written_maps import WrittenMaps
from volseg.figures.figure_files import optional_picture, save_figure
from volseg.figures.reliability import reliability_figure
from volseg.files.writing import remove
from volseg.images.nifti_reading import read_case
from volseg.metrics.calibration import Reliability, counted_box
from volseg.metrics.calibration_table import CalibrationTable, RegionCalibration

logger = logging.getLogger(__name__)

#: Calibration of a case by region, or why it is left out.
Found = Mapping[str, RegionCalibration] | str


def note_on_temperatures(table: CalibrationTable) -> Iterator[str]:
    """A note if the cases may be those that the temperatures were fitted on."""
    if table.is_tempered:
        yield (
            "calibration: volseg tune fits temperatures on the validation cases of its runs, which "
            "the predictions do not record; over such cases, the calibration error with "
            "temperature says nothing about other patients"
        )


def draw_calibration(path: Path, table: CalibrationTable) -> bool:
    """Draw the reliability of each region; returns whether the picture was written."""
    if not table.regions:
        remove(path)  # an older picture shows other cases
        return False
    with optional_picture(path):
        save_figure(reliability_figure(table.regions), path)
    return path.is_file()


def calibrate(pair: CasePair, reference: npt.NDArray[np.uint8]) -> Found | None:
    """Calibration of a case by region, or why it is left out; None without maps.

    Args:
        pair: The case.
        reference: Label map (I, J, K) of the reference.
    """
    if pair.maps is None:
        return None
    case_id, masks = pair.case.case_id, pair.reference_labels.masks(reference)
    try:
        return {
            region: _of_region(pair.maps, case_id, region, masks[region]) for region in pair.regions
        }
    except VolsegError as error:
        logger.warning("%s: no calibration: %s", case_id, error.without_case)
        return error.without_case


def _of_region(
    maps: WrittenMaps, case_id: str, region: str, mask: npt.NDArray[np.bool_]
) -> RegionCalibration:
    path, temperature = maps.path(case_id, region), maps.temperature(region)
    written = read_case([path], ["probability"], ["probability"]).array[0]
    if written.shape != mask.shape:
        raise GeometryError(
            f"{path} has shape {written.shape}, but the reference {mask.shape}",
            remedy="segment the case again",
        )
    # A temperature leaves each probability on its side of 0.5, so the box is that of both.
    box = counted_box(written, mask)
    part, inside = written[box], mask[box]
    after = Reliability.of(part, inside)
    before = after if temperature == 1 else Reliability.of(tempered(part, 1 / temperature), inside)
    return RegionCalibration(1, (temperature,), before, after)
