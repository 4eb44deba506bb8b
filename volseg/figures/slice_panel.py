"""A slice in a panel of a figure: image in grey, outlines, and sides of the patient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgba

from volseg.figures.case_view import Box, CaseView
from volseg.figures.greys import as_greys
from volseg.figures.looks import filling
from volseg.labels import Masks

#: Space on each side of an image for the letters of the patient's sides.
SIDES_INCHES = 0.24


def flat_slice(array: npt.NDArray[Any], index: int, box: Box) -> npt.NDArray[Any]:
    """One slice, with high indices at the left and at the top; see `CaseView.sides`."""
    return array[box[0], box[1], index][::-1, ::-1].T


def panel_inches(view: CaseView, box: Box, width: float, *, lettered: bool = True) -> float:
    """Height of a panel of this width for a slice of the box.

    Args:
        view: The case.
        box: Part of the case to show.
        width: Width of the panel, in inches.
        lettered: Whether there is space for `draw_sides`.
    """
    edges = 2 * SIDES_INCHES if lettered and view.sides else 0.0
    return (width - edges) * view.height(box) + edges


def draw_image(
    panel: Any, view: CaseView, channel: str, index: int, box: Box, smoothing: str | None = None
) -> None:
    """Draw one slice of one channel, in grey; `smoothing` is an interpolation of `imshow`."""
    flat = flat_slice(view.images[channel], index, box)
    shown = as_greys(flat, view.window(channel))
    panel.imshow(*(shown, "gray"), vmin=0, vmax=255, aspect=view.aspect, interpolation=smoothing)


def draw_filling(
    panel: Any, masks: Masks, index: int, box: Box, colours: Mapping[str, str], opacity: float
) -> None:
    """Fill the masks in one slice with the colours of their regions; see `filling`."""
    flat = {region: flat_slice(mask, index, box) for region, mask in masks.items()}
    if any(mask.any() for mask in flat.values()):
        layer = filling(flat, colours, opacity)
        panel.imshow(layer, aspect=panel.get_aspect(), interpolation="bicubic")


def draw_outlines(
    panel: Any,
    masks: Masks,
    index: int,
    box: Box,
    colours: Mapping[str, str],
    style: str,
    opacity: float = 1.0,
) -> None:
    """Draw the outlines of the masks in one slice, in a style of lines and with an opacity."""
    for region, mask in masks.items():
        flat = flat_slice(mask, index, box)
        if not flat.any():
            continue
        # Padding closes outlines at the border; the reference is thicker, so that its dashes show
        # on both sides of a solid line on top of them.
        panel.contour(
            np.arange(-1, flat.shape[1] + 1),
            np.arange(-1, flat.shape[0] + 1),
            np.pad(flat, 1).astype(np.float32),
            levels=[0.5],
            colors=[colours[region]],
            linewidths=1.0 if style == "solid" else 1.8,
            linestyles=style,
            alpha=opacity,
        )


def draw_area(
    panel: Any, mask: npt.NDArray[np.bool_], index: int, box: Box, look: tuple[str, float]
) -> None:
    """Fill the voxels of a mask in one slice, in a colour with an opacity from 0 to 1.

    The slice must have been drawn by `draw_image`, which decides the proportions of the panel.
    """
    flat = flat_slice(mask, index, box)
    layer = np.zeros((*flat.shape, 4), np.float32)
    layer[flat] = to_rgba(*look)
    panel.imshow(layer, aspect=panel.get_aspect())


def draw_sides(panel: Any, view: CaseView) -> None:
    """Draw the letters of the patient's sides, such as R, L, A (front) and P (back), if known.

    They stand outside the image, which becomes smaller within its panel; see `panel_inches`. The
    slice must have been drawn before.
    """
    if not view.sides:
        return
    (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
    place, (width, height) = panel.get_position(original=True), panel.figure.get_size_inches()
    space = [place.width * width - 2 * SIDES_INCHES, place.height * height - 2 * SIDES_INCHES]
    aspect = panel.get_aspect()
    inches = min(space[0] / (right - left), space[1] / ((bottom - top) * aspect))
    across, up = SIDES_INCHES / inches, SIDES_INCHES / inches / aspect
    centre, middle = (left + right) / 2, (top + bottom) / 2
    places = {
        "left": (left - 0.4 * across, middle),
        "right": (right + 0.4 * across, middle),
        "top": (centre, top - 0.4 * up),
        "bottom": (centre, bottom + 0.4 * up),
    }
    for edge, letter in view.sides.items():
        panel.text(*places[edge], letter, color="white", fontsize=9, ha="center", va="center")
    panel.set_xlim(left - across, right + across)
    panel.set_ylim(bottom + up, top - up)
