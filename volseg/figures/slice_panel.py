"""A slice in a panel of a figure: image in grey, outlines, and sides of the patient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgba
from matplotlib.patheffects import withStroke

from volseg.figures.case_view import Box, CaseView
from volseg.figures.greys import as_greys
from volseg.figures.looks import filling
from volseg.labels import Masks

# Places of the letters of the patient's sides in the panel.
_EDGES = {"left": (0.02, 0.5), "right": (0.98, 0.5), "top": (0.5, 0.98), "bottom": (0.5, 0.02)}
_ALIGNED = {0.02: ("left", "bottom"), 0.5: ("center", "center"), 0.98: ("right", "top")}
# Letters stay readable on bright tissue.
_HALO = withStroke(linewidth=1.5, foreground="black")


def flat_slice(array: npt.NDArray[Any], index: int, box: Box) -> npt.NDArray[Any]:
    """One slice, with high indices at the left and at the top; see `CaseView.sides`."""
    return array[box[0], box[1], index][::-1, ::-1].T


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
    """Draw the letters of the patient's sides, such as R, L, A (front) and P (back), if known."""
    for edge, letter in view.sides.items():
        across, up = _EDGES[edge]
        panel.text(
            *(across, up, letter),
            color="white",
            fontsize=9,
            path_effects=[_HALO],
            ha=_ALIGNED[across][0],
            va=_ALIGNED[up][1],
            transform=panel.transAxes,
        )
