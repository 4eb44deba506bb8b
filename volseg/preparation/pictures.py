"""Picture of a prepared case: whether channels fit the reference, and what was taken for brain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from volseg.figures.case_view import CaseView
from volseg.figures.colours import ANATOMY_COLOUR, ATLAS_COLOUR, BRAIN_COLOUR
from volseg.figures.figure_files import optional_picture
from volseg.figures.greys import as_greys, grey_window
from volseg.figures.panels import Section, draw_sections
from volseg.figures.planes import PLANE_AXES, slice_numbers
from volseg.images.boxes import bounding_box
from volseg.preparation.grids import Mask
from volseg.preparation.record import PreparationRecord

# Smoothing before the outlines of the reference are found, in mm.
_SMOOTH_MM = 1.5
# Voxels around the head that are shown.
_MARGIN = 4
# Axial slices. They lie about 3 cm apart, so that a tumour of more than that is in one at least.
_AXIAL = 5
# Columns of pixels: about a pixel for each mm of four channels.
_WIDTH = 1040
_BRAIN = "brain"


@dataclass(frozen=True)
class _View(CaseView):
    """A view that says what the colours of its lines mean."""

    anatomy: str = ""
    shows_face: bool = False

    @property
    def meaning_of_lines(self) -> str:
        parts = ["The lines are the same in all channels."]
        if _BRAIN in self.regions:
            parts.append("Orange, the brain: it must neither cut off tumour nor leave skull in.")
        parts.append("Green, the anatomy of the reference: it must follow each channel.")
        if set(self.regions) - {_BRAIN, self.anatomy}:
            parts.append("Pink, the brain of the atlas.")
        if self.shows_face:
            parts.append("A face may be recognised in this picture: treat it as the scans are.")
        return " ".join(parts)


def draw_case(
    path: Path,
    record: PreparationRecord,
    heads: Mapping[str, npt.NDArray[Any]],
    outlines: Mapping[str, Mask],
) -> None:
    """Draw each channel at several heights and in three planes, with the same outlines in all.

    Anatomy of the reference channel that does not follow the anatomy of another channel shows a
    failed registration. An error is logged.

    Args:
        path: PNG file to write.
        record: Record of the case.
        heads: Channels (I, J, K) on the prepared grid, with what is outside the brain.
        outlines: Masks on that grid by name, the brain first.
    """
    with optional_picture(path):
        reference = record.reference
        name = f"anatomy of {reference}"
        anatomy = _anatomy(heads[reference], outlines.get(_BRAIN), record)
        view = _view(record, heads, {**outlines, name: anatomy}, name)
        legend = {} if record.mask is None else {_BRAIN: _brain_in_words(record)}
        drawn = draw_sections(
            _sections(view),
            legend,
            record.case_id,
            _figures(record),
            colours={region: _colour(region, name) for region in view.regions},
            width=_WIDTH,
        )
        drawn.canvas.save(path)


def _colour(region: str, anatomy: str) -> str:
    """Colour of a line, which means the same in each picture."""
    return {_BRAIN: BRAIN_COLOUR, anatomy: ANATOMY_COLOUR}.get(region, ATLAS_COLOUR)


def _sections(view: CaseView) -> list[Section]:
    """Axial slices spread over the brain or else the head, and a slice of each other plane."""
    mask = next(iter(view.prediction.values())) if view.prediction else view.content
    whole = mask if mask.any() else view.content
    centre = [round(float(place)) for place in ndimage.center_of_mass(whole)]
    others = [(plane, centre[axes[2]]) for plane, axes in PLANE_AXES.items() if plane != "axial"]
    return [
        *((view, index) for index in _heights(whole)),
        *((view.in_plane(plane), index) for plane, index in others),
    ]


def _heights(mask: Mask) -> list[int]:
    """Axial slices spread evenly over a mask, highest first."""
    filled = np.flatnonzero(mask.any(axis=(0, 1)))
    places = ((np.arange(_AXIAL) + 0.5) / _AXIAL * filled.size).astype(int)
    return sorted({int(filled[place]) for place in places}, reverse=True)


def _view(
    record: PreparationRecord,
    heads: Mapping[str, npt.NDArray[Any]],
    masks: Mapping[str, Mask],
    anatomy: str,
) -> _View:
    grid = record.grid.grid
    upright = {name: grid.to_ras(head) for name, head in heads.items()}
    shown = {name: as_greys(head, grey_window(head)) for name, head in upright.items()}
    content = np.any([grey > 16 for grey in shown.values()], axis=0)
    i, j, k = bounding_box(content if content.any() else ~content, _MARGIN)
    box = (i, j, k)
    names = {name: _name(name, record) for name in shown}
    return _View(
        {names[name]: grey[box] for name, grey in shown.items()},
        prediction={name: grid.to_ras(mask)[box] for name, mask in masks.items()},
        name=record.case_id,
        spacing_mm=grid.ras.spacing_mm,
        numbers=slice_numbers(grid.ras.crop(box), grid),
        windows=dict.fromkeys(names.values(), (0.0, 255.0)),
        anatomy=anatomy,
        shows_face=record.mask is None or record.mask.method != "already stripped",
    )


def _anatomy(
    head: npt.NDArray[Any], brain: Mask | None, record: PreparationRecord
) -> npt.NDArray[np.bool_]:
    """Bright half of the brain in the reference channel, whose border is drawn."""
    sigmas = [_SMOOTH_MM / mm for mm in record.grid.grid.spacing_mm]
    smooth = ndimage.gaussian_filter(head.astype(np.float32), sigmas)
    inside = smooth > 0.1 * np.percentile(smooth, 99) if brain is None else brain
    if not inside.any():
        return np.zeros(head.shape, np.bool_)
    return np.asarray(inside & (smooth > np.median(smooth[inside])))


def _name(channel: str, record: PreparationRecord) -> str:
    one = record.channels[channel]
    covers = "" if one.covers_brain else f", {one.coverage:.0%} of the brain"
    if one.alignment == "registered":
        return f"{channel}{covers}, moved {one.moved_mm:.1f} mm"
    return f"{channel}{covers}, {one.alignment}"


def _brain_in_words(record: PreparationRecord) -> str:
    assert record.mask is not None
    return f"{record.mask.volume_ml:.0f} ml, {record.mask.method}"


def _figures(record: PreparationRecord) -> str:
    """Figures of the registrations, such as `Mutual information with t1c: t2f 1.03 to 1.21`."""
    found = [
        f"{name} {before:.2f} to {one.quality['after']:.2f}"
        if (before := one.quality["before"]) < one.quality["after"]
        else f"{name} {before:.2f}"
        for name, one in record.channels.items()
        if one.quality
    ]
    words = f"Normalised mutual information with {record.reference}, from 1 to 2: "
    return words + ", ".join(found) if found else ""
