"""Pictures of a case: slices of its channels with the outlines of reference and prediction.

    montage(images, reference, prediction, title, slices=3, spacing_mm=(1, 1, 1)) -> Figure
    gallery(views, title, slices=1) -> Figure
    figure_array(figure) -> uint8 (H, W, 3), for TensorBoard
    save_figure(figure, path)
    to_ras(array, affine) -> array
    region_colours(regions) -> {region: colour}

Arrays are in RAS: the first axis runs to the patient's right, the second to the front, the third
up. Slices are shown as radiologists see them: front at the top, the patient's left on the right.
Figures are drawn by Agg without pyplot, so nothing global is touched and no display is needed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from volseg import DISCLAIMER
from volseg.boxes import bounding_box
from volseg.files import atomic_write

Masks = Mapping[str, npt.NDArray[np.bool_]]
Box = tuple[slice, slice, slice]

#: Colours that stay apart for colour-blind readers (Okabe and Ito, "Color Universal Design", 2008).
REGION_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "WT": "#56B4E9",
        "TC": "#F0E442",
        "ET": "#D55E00",
        "RC": "#CC79A7",
        "CC": "#009E73",
        "GTV": "#E69F00",
        "foreground": "#E69F00",
    }
)
_SPARE_COLOURS = ("#E69F00", "#009E73", "#CC79A7", "#0072B2")

_PANEL_INCHES = 2.2
_TOP_INCHES = 0.55
_BOTTOM_INCHES = 0.6
_LEGEND_INCHES = 5.0
_MARGIN_VOXELS = 2


def region_colours(regions: Iterable[str]) -> dict[str, str]:
    """Colour of each region: its own in `REGION_COLOURS`, or the next spare one.

    >>> region_colours(["WT", "cyst"])
    {'WT': '#56B4E9', 'cyst': '#E69F00'}
    """
    names = list(dict.fromkeys(regions))
    used = {REGION_COLOURS[name] for name in names if name in REGION_COLOURS}
    spare = [colour for colour in _SPARE_COLOURS if colour not in used] or list(_SPARE_COLOURS)
    others = [name for name in names if name not in REGION_COLOURS]
    drawn = {name: spare[n % len(spare)] for n, name in enumerate(others)}
    return {name: REGION_COLOURS.get(name) or drawn[name] for name in names}


@dataclass(frozen=True)
class CaseView:
    """A case to be drawn.

    Attributes:
        images: Channel name to array (I, J, K) in RAS, 0 outside the brain.
        reference: Region name to mask (I, J, K), outlined with dashes; None or empty: not drawn.
        prediction: The same for the model's masks, outlined with solid lines.
        name: Written into each of its rows.
        spacing_mm: Size of a voxel; only the ratio of the first two matters.
    """

    images: Mapping[str, npt.NDArray[Any]]
    reference: Masks | None = None
    prediction: Masks | None = None
    name: str = ""
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0)

    @property
    def masks(self) -> list[tuple[Masks, str]]:
        """Masks and the style of their lines."""
        return [(self.reference or {}, "dashed"), (self.prediction or {}, "solid")]

    @property
    def aspect(self) -> float:
        """Height of a voxel in the picture over its width."""
        return self.spacing_mm[1] / self.spacing_mm[0]

    @property
    def brain(self) -> npt.NDArray[np.bool_]:
        """Voxels that any image fills."""
        return np.any([image != 0 for image in self.images.values()], axis=0)


def montage(
    images: Mapping[str, npt.NDArray[Any]],
    reference: Masks | None,
    prediction: Masks | None,
    title: str,
    slices: int = 3,
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
) -> Figure:
    """One case: axial slices are rows, channels are columns; see `gallery` and `CaseView`."""
    return gallery([CaseView(images, reference, prediction, "", spacing_mm)], title, slices)


def gallery(views: Sequence[CaseView], title: str, slices: int = 1) -> Figure:
    """Axial slices (rows) of every channel (columns) with outlines in the colours of the regions.

    The slice with most of the reference is shown, or of the prediction where there is no
    reference, and others spread over it; without any mask they are spread over the brain.

    Args:
        views: Cases with the same channels.
        title: Heading of the picture.
        slices: Rows of each case, at most.

    Returns:
        The figure; see `save_figure` and `figure_array`.
    """
    rows = [
        (view, _box([view.brain, *_every_mask(view)]), index)
        for view in views
        for index in choose_slices(_target(view), slices)
    ]
    ratio = max(view.aspect * _side(box[1]) / _side(box[0]) for view, box, _ in rows)
    channels = list(views[0].images)
    figure, axes = _grid(len(rows), len(channels), ratio)
    colours = region_colours(region for view in views for part, _ in view.masks for region in part)
    for channel, panel in zip(channels, axes[0], strict=True):
        panel.set_title(channel, color="white", fontsize=9, pad=3)
    for (view, box, index), panels in zip(rows, axes, strict=True):
        for channel, panel in zip(channels, panels, strict=True):
            _draw(panel, view, channel, index, box)
            for masks, style in view.masks:
                _outline(panel, masks, index, box, colours, style)
        _row_words(panels[0], view.name, index)
    _words(figure, title)
    _legend(figure, colours, {style for view in views for masks, style in view.masks if masks})
    return figure


def choose_slices(mask: npt.NDArray[np.bool_], count: int) -> list[int]:
    """Indices along the third axis, highest first: the fullest slice, others spread over the mask.

    >>> mask = np.zeros((4, 4, 9), dtype=bool)
    >>> mask[:2, :2, 2:8] = True
    >>> mask[:, :, 4] = True
    >>> choose_slices(mask, 3)
    [7, 5, 4]
    """
    areas = mask.sum(axis=(0, 1))
    filled = np.flatnonzero(areas)
    if not filled.size:
        return [mask.shape[2] // 2]
    spread = filled[((np.arange(count) + 0.5) / count * filled.size).astype(int)]
    fullest = int(areas.argmax())
    spread[np.abs(spread - fullest).argmin()] = fullest
    return sorted({int(index) for index in spread}, reverse=True)


def to_ras(array: npt.NDArray[Any], affine: npt.NDArray[np.floating]) -> npt.NDArray[Any]:
    """The array (I, J, K) flipped and transposed to RAS; oblique grids to the nearest axes."""
    return nib.orientations.apply_orientation(array, nib.io_orientation(affine))


def figure_array(figure: Figure) -> npt.NDArray[np.uint8]:
    """The drawn figure as an RGB array (H, W, 3), 0 to 255."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure, whole or not at all; the format follows the name (.png, .svg, .pdf).

    Raises:
        OutputError: If the file cannot be written.
    """
    FigureCanvasAgg(figure)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], facecolor=figure.get_facecolor())


def _target(view: CaseView) -> npt.NDArray[np.bool_]:
    """What the slices are to show."""
    for masks, _ in view.masks:
        if any(mask.any() for mask in masks.values()):
            return np.any(list(masks.values()), axis=0)
    return view.brain


def _every_mask(view: CaseView) -> list[npt.NDArray[np.bool_]]:
    return [mask for masks, _ in view.masks for mask in masks.values()]


def _box(masks: Sequence[npt.NDArray[np.bool_]]) -> Box:
    """Smallest box around all masks, with a margin; the whole array when they are empty."""
    together = np.any(list(masks), axis=0)
    if not together.any():
        together = ~together
    i, j, k = bounding_box(together, _MARGIN_VOXELS)
    return i, j, k


def _side(extent: slice) -> int:
    return int(extent.stop - extent.start)


def _panel(array: npt.NDArray[Any], index: int, box: Box) -> npt.NDArray[Any]:
    """One slice as rows from front to back and columns from the patient's right to left."""
    return array[box[0], box[1], index][::-1, ::-1].T


def _window(image: npt.NDArray[Any]) -> tuple[float, float]:
    """Intensities shown as black and as white."""
    values = image[image != 0].astype(np.float32)
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, [0.5, 99.7])
    return float(low), float(max(high, low + 1e-6))


def _draw(panel: Any, view: CaseView, channel: str, index: int, box: Box) -> None:
    image = view.images[channel]
    low, high = _window(image)
    flat = _panel(image, index, box).astype(np.float32)
    # A normalised image is negative in places, so its background, 0, would be grey.
    shown = np.where(flat == 0, low, flat)
    panel.imshow(shown, cmap="gray", vmin=low, vmax=high, aspect=view.aspect)


def _outline(
    panel: Any, masks: Masks, index: int, box: Box, colours: Mapping[str, str], style: str
) -> None:
    for region, mask in masks.items():
        flat = _panel(mask, index, box)
        if not flat.any():
            continue
        # Padding closes outlines at the border; the reference is thicker, so that its dashes show
        # on both sides of a solid line that lies upon it.
        panel.contour(
            np.arange(-1, flat.shape[1] + 1),
            np.arange(-1, flat.shape[0] + 1),
            np.pad(flat, 1).astype(np.float32),
            levels=[0.5],
            colors=[colours[region]],
            linewidths=1.0 if style == "solid" else 1.8,
            linestyles=style,
        )


def _grid(rows: int, columns: int, ratio: float) -> tuple[Figure, Any]:
    panel_height = _PANEL_INCHES * ratio
    height = rows * panel_height + _TOP_INCHES + _BOTTOM_INCHES
    width = max(columns * _PANEL_INCHES, _LEGEND_INCHES)
    figure = Figure(figsize=(width, height), dpi=100, facecolor="black")
    edges = {
        "left": 0.0,
        "right": 1.0,
        "top": 1 - _TOP_INCHES / height,
        "bottom": _BOTTOM_INCHES / height,
        "wspace": 0.0,
        "hspace": 0.0,
    }
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw=edges)
    for panel in axes.flat:
        panel.set_axis_off()
    return figure, axes


def _words(figure: Figure, title: str) -> None:
    inches = figure.get_figheight()
    figure.text(0.5, 1 - 0.08 / inches, title, color="white", fontsize=11, ha="center", va="top")
    figure.text(0.5, 0.05 / inches, DISCLAIMER, color="#BBBBBB", fontsize=7, ha="center")


def _row_words(panel: Any, name: str, index: int) -> None:
    small = {"color": "#BBBBBB", "fontsize": 7, "transform": panel.transAxes}
    panel.text(0.02, 0.98, f"{name}\nslice {index}".strip(), va="top", **small)
    panel.text(0.02, 0.5, "R", **small)
    panel.text(0.98, 0.5, "L", ha="right", **small)


def _legend(figure: Figure, colours: Mapping[str, str], styles: Collection[str]) -> None:
    lines = [Line2D([], [], color=colour, label=region) for region, colour in colours.items()]
    for style, name in (("dashed", "reference"), ("solid", "prediction")):
        if style in styles:
            lines.append(Line2D([], [], color="white", linestyle=style, label=name))
    if lines:
        figure.legend(
            handles=lines,
            loc="lower center",
            bbox_to_anchor=(0.5, 0.2 / figure.get_figheight()),
            ncols=len(lines),
            fontsize=8,
            frameon=False,
            labelcolor="white",
        )
