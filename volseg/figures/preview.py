"""Preview of a predicted case: slices with most tumour in all channels, with outlines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from volseg.figures.canvas import Canvas, Frame
from volseg.figures.case_view import CaseView, choose_slices
from volseg.figures.colours import region_colours
from volseg.figures.panels import Section, draw_sections
from volseg.figures.planes import PLANE_AXES
from volseg.figures.samples import shown_channel

#: Keyword in the metadata of a preview: the part for the contact sheet, as left, top, right and
#: bottom in pixels.
THUMBNAIL = "volseg-thumbnail"

# Longest side of the tile of a lone slice, in pixels.
_TILE = 240
# Slices of a stack without orientation, at most.
_SLICES = 3


def draw_preview(path: Path, view: CaseView, legend: Mapping[str, str], note: str = "") -> None:
    """Draw a predicted case, as a row for each of its `largest_sections`.

    Args:
        path: PNG file to write.
        view: The case, as 8-bit greys within the box of the head; see `GreyImages.view`.
        legend: Words of the legend by region, such as its volume.
        note: A line below the title, such as a doubt about the model.

    Raises:
        OutputError: If the file cannot be written, or volseg did not write the file in its place.
    """
    sections = largest_sections(view)
    drawn = draw_sections(sections, legend, view.name, note)
    shown = 0 if view.is_oriented else _number_of_fullest(sections)
    box = drawn.boxes[shown_channel(drawn.boxes)][shown]
    drawn.canvas.save(path, {THUMBNAIL: " ".join(map(str, box))})


def draw_tile(path: Path, view: CaseView) -> None:
    """Draw a case of a single slice as a tile of the contact sheet, in one channel, without words.

    The preview of a slice with words in all channels would take longer than its segmentation.

    Args:
        path: PNG file to write.
        view: The case.

    Raises:
        OutputError: As in `draw_preview`.
    """
    channel = shown_channel(view.images)
    i, j, _ = view.images[channel].shape
    width_mm, height_mm = i * view.spacing_mm[0], j * view.spacing_mm[1]
    scale = _TILE / max(width_mm, height_mm)
    size = max(1, round(width_mm * scale)), max(1, round(height_mm * scale))
    canvas = Canvas(*size, region_colours(view.regions))
    canvas.slice(view, channel, 0, Frame((slice(i), slice(j), slice(1)), (0, 0), size))
    canvas.save(path, {THUMBNAIL: f"0 0 {size[0]} {size[1]}"})


def largest_sections(view: CaseView) -> list[Section]:
    """The slice of each plane with the largest area of all regions together.

    Without a voxel of a region, it is the middle of the head. A case without orientation has
    slices of its own plane: that of the largest area, and others spread over the regions.
    """
    shape = next(iter(view.images.values())).shape
    depth = np.zeros(shape, np.uint8)
    for mask in view.target_masks.values():
        depth += mask
    if not view.is_oriented:
        return [(view, index) for index in reversed(choose_slices(depth > 0, _SLICES))]
    return [
        (view.in_plane(plane), _fullest(depth.transpose(axes)))
        for plane, axes in PLANE_AXES.items()
    ]


def _number_of_fullest(sections: Sequence[Section]) -> int:
    """Number of the slice of a stack with the largest area of all regions together."""
    areas = [np.count_nonzero(view.target[:, :, index]) for view, index in sections]
    return int(np.argmax(areas))


def _fullest(depth: npt.NDArray[np.uint8]) -> int:
    """Index of the slice with the largest area of all regions; without any, the middle slice.

    Of slices with equal areas, it is the slice with most of the inner regions.

    Args:
        depth: Number of regions that hold each voxel (I, J, K).
    """
    areas, inner = np.count_nonzero(depth, axis=(0, 1)), depth.sum(axis=(0, 1), dtype=np.int64)
    return int(np.lexsort((-inner, -areas))[0]) if areas.any() else depth.shape[2] // 2
