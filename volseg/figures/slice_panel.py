"""A slice in a panel of a figure: image in grey, outlines, and sides of the patient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.figures.case_view import Box, CaseView
from volseg.labels import Masks

# Letters of the sides of the patient, and their places in the panel.
_SIDES = {"R": (0.02, 0.5), "L": (0.98, 0.5), "A": (0.5, 0.98), "P": (0.5, 0.02)}
_ALIGNED = {0.02: ("left", "bottom"), 0.5: ("center", "center"), 0.98: ("right", "top")}


def _flat(array: npt.NDArray[Any], index: int, box: Box) -> npt.NDArray[Any]:
    """One slice, with rows from front to back and columns from the patient's right to left."""
    return array[box[0], box[1], index][::-1, ::-1].T


def _window(image: npt.NDArray[Any]) -> tuple[float, float]:
    """Intensities to show as black and as white."""
    values = image[image != 0].astype(np.float32)
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, [0.5, 99.7])
    return float(low), float(max(high, low + 1e-6))


def draw_image(panel: Any, view: CaseView, channel: str, index: int, box: Box) -> None:
    """Draw one slice of one channel, in grey."""
    image = view.images[channel]
    low, high = _window(image)
    flat = _flat(image, index, box).astype(np.float32)
    # A normalised image has negative voxels, so its background, 0, would be grey.
    shown = np.where(flat == 0, low, flat)
    panel.imshow(shown, cmap="gray", vmin=low, vmax=high, aspect=view.aspect)


def draw_outlines(
    panel: Any, masks: Masks, index: int, box: Box, colours: Mapping[str, str], style: str
) -> None:
    """Draw the outlines of the masks in one slice."""
    for region, mask in masks.items():
        flat = _flat(mask, index, box)
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
        )


def draw_sides(panel: Any, view: CaseView) -> None:
    """Draw R, L, A (front) and P (back) at the sides of the patient, if the files record them."""
    if not view.is_oriented:
        return
    for letter, (across, up) in _SIDES.items():
        panel.text(
            *(across, up, letter),
            color="white",
            fontsize=9,
            ha=_ALIGNED[across][0],
            va=_ALIGNED[up][1],
            transform=panel.transAxes,
        )
