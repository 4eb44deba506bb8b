"""Map of the errors of a case: false positive and false negative voxels of each region."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from volseg.figures.annotations import BOTTOM_INCHES, TOP_INCHES, draw_heading, place_legend
from volseg.figures.case_view import CaseView, choose_slices
from volseg.figures.colours import AGREED, ERROR_COLOURS, FALSE_NEGATIVE, FALSE_POSITIVE
from volseg.figures.samples import shown_channel
from volseg.figures.slice_panel import draw_area, draw_image, draw_sides, panel_inches
from volseg.labels import Masks

_PANEL_INCHES = 2.9
_NAME_INCHES = 0.3
_LEGEND_INCHES = 4.2
_OPACITY: Mapping[str, float] = {AGREED: 0.45, FALSE_POSITIVE: 0.75, FALSE_NEGATIVE: 0.75}


def error_map(view: CaseView, title: str = "") -> Figure:
    """A panel for each region, in the slice with most wrong voxels of that region.

    A region without a wrong voxel is shown in the slice with its largest area.

    Args:
        view: View with masks of reference and prediction of the same regions.
        title: Heading of the picture.

    Returns:
        Figure in the `ERROR_COLOURS`.

    Raises:
        ValueError: If reference or prediction has no masks.
    """
    if not view.reference or not view.prediction:
        raise ValueError("errors need masks of reference and prediction")
    channel, box = shown_channel(view.images), view.box()
    regions = [region for region in view.reference if region in view.prediction]
    height = min(panel_inches(view, box, _PANEL_INCHES), 2 * _PANEL_INCHES)
    above = _NAME_INCHES + (TOP_INCHES if title else 0)
    total = height + above + BOTTOM_INCHES
    width = max(len(regions) * _PANEL_INCHES, _LEGEND_INCHES)
    figure = Figure(figsize=(width, total), dpi=100, facecolor="black")
    panels = figure.subplots(1, len(regions), squeeze=False)[0]
    figure.subplots_adjust(0, BOTTOM_INCHES / total, 1, 1 - above / total, wspace=0.01)
    for region, panel in zip(regions, panels, strict=True):
        panel.set_axis_off()
        parts = errors(view, region)
        wrong = parts[FALSE_POSITIVE] | parts[FALSE_NEGATIVE]
        index = choose_slices(wrong if wrong.any() else view.target, 1)[0]
        draw_image(panel, view, channel, index, box)
        for part, mask in parts.items():
            draw_area(panel, mask, index, box, (ERROR_COLOURS[part], _OPACITY[part]))
        draw_sides(panel, view)
        name = f"{region}, {view.slice_name(index)}, {channel}"
        panel.set_title(name, color="white", fontsize=9, pad=4)
    draw_heading(figure, title)
    place_legend(
        figure, [Patch(color=c, alpha=0.8, label=part) for part, c in ERROR_COLOURS.items()]
    )
    return figure


def errors(view: CaseView, region: str) -> Masks:
    """Masks of the agreed, the false positive and the false negative voxels of a region."""
    reference, prediction = (masks[region] for masks, _ in view.masks)
    return {
        AGREED: reference & prediction,
        FALSE_POSITIVE: prediction & ~reference,
        FALSE_NEGATIVE: reference & ~prediction,
    }
