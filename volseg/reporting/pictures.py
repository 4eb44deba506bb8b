"""Pictures of a case for a report: three planes, a montage, errors by region, an animation."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from volseg.figures.canvas import Pixels
from volseg.figures.case_view import CaseView, choose_slices
from volseg.figures.error_map import error_map
from volseg.figures.figure_files import figure_array
from volseg.figures.panels import Section, draw_sections
from volseg.figures.planes import PLANE_AXES
from volseg.figures.preview import largest_sections
from volseg.figures.samples import shown_channel
from volseg.figures.sweep import sweep_bytes
from volseg.reporting.content import Picture

_ROWS = 4
_QUALITY = 82


def case_pictures(view: CaseView) -> list[Picture]:
    """Pictures of a case; without a reference, there is no picture of errors."""
    shown = replace(_cropped(view), name="")
    # Known before slices are cut, so that all have the same greys.
    shown = replace(shown, windows={name: shown.window(name) for name in shown.images})
    outlined, regions = _outlined(shown), " ".join(shown.regions)
    found = []
    if shown.reference and shown.prediction:
        found.append(
            _picture(
                figure_array(error_map(shown)),
                "Errors by region, each in the slice with most wrong voxels",
                f"False positive and false negative voxels of {regions}",
            )
        )
    name = "Three planes" if shown.is_oriented else "Slices"
    spread = [(shown, index) for index in choose_slices(shown.target, _ROWS)]
    for title, what, sections in (
        (f"{name} through the largest section, in all channels", name, largest_sections(shown)),
        ("Montage", "Slices", spread),
    ):
        description = f"{what} of {', '.join(shown.images)}, with {outlined} of {regions}"
        tight = [_without_rows_of_air(*section) for section in sections]
        found.append(_picture(draw_sections(tight, {}).canvas.pixels, title, description))
    return [*found, _animation(shown, outlined)]


def _animation(view: CaseView, outlined: str) -> Picture:
    channel = shown_channel(view.images)
    data = sweep_bytes(view, channel)
    with Image.open(io.BytesIO(data)) as opened:
        width, height = opened.size
    return Picture(
        f"Animation through all slices, {channel}",
        f"Animation through the slices of {channel}, with {outlined}",
        *(data, width, height),
        is_folded=True,
    )


def _outlined(view: CaseView) -> str:
    sides = {"dashed": "dashed outlines of the reference", "solid": "outlines of the prediction"}
    return " and ".join(sides[style] for masks, style in view.masks if masks) or "outlines"


def _cropped(view: CaseView) -> CaseView:
    """The view without the air around the head, which takes most of the time of drawing."""
    box = view.box()
    counted = {
        plane: view.numbers.get(plane) or range(1, view.brain.shape[axes[2]] + 1)
        for plane, axes in PLANE_AXES.items()
    }
    numbers = {plane: counted[plane][box[axes[2]]] for plane, axes in PLANE_AXES.items()}
    return replace(
        view,
        images={name: np.ascontiguousarray(image[box]) for name, image in view.images.items()},
        reference=view.reference and {r: mask[box] for r, mask in view.reference.items()},
        prediction=view.prediction and {r: mask[box] for r, mask in view.prediction.items()},
        numbers=numbers,
    )


def _without_rows_of_air(view: CaseView, index: int) -> Section:
    """The section without the air above and below its slice, which leaves gaps between rows."""
    rows = (slice(None), view.box(index)[1])
    found = replace(
        view,
        images={name: image[rows] for name, image in view.images.items()},
        reference=view.reference and {r: mask[rows] for r, mask in view.reference.items()},
        prediction=view.prediction and {r: mask[rows] for r, mask in view.prediction.items()},
    )
    return found, index


def _picture(pixels: Pixels, title: str, description: str) -> Picture:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "WEBP", quality=_QUALITY, method=2)
    height, width = pixels.shape[:2]
    return Picture(title, description, written.getvalue(), width, height)
