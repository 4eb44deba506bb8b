"""Pictures: cases with the outlines of reference and prediction, and the curves of a run.

    montage(images, reference, prediction, title, slices=3, spacing_mm=(1, 1, 1)) -> Figure
    gallery(views, title, slices=1) -> Figure
    sample_grid(samples, title) -> Figure
    curves(rows, title, kept_epoch=None) -> Figure
    figure_array(figure) -> uint8 (H, W, 3), for TensorBoard
    save_figure(figure, path), optional_picture(path)
    to_ras(array, affine) -> array
    region_colours(regions) -> {region: colour}

Arrays are in RAS: the first axis runs to the patient's right, the second to the front, the third
up. Slices are shown as radiologists see them: front at the top, the patient's left on the right.
Figures are drawn by Agg without pyplot, so nothing global is touched and no display is needed.
"""

from volseg.overlay.colours import REGION_COLOURS, region_colours
from volseg.overlay.curves import curves
from volseg.overlay.figures import figure_array, optional_picture, save_figure
from volseg.overlay.montage import gallery, montage
from volseg.overlay.samples import (
    SAMPLES,
    Sample,
    choose_samples,
    sample_grid,
    samples_title,
    shown_channel,
)
from volseg.overlay.views import CaseView, Masks, choose_slices, ras_affine, slice_numbers, to_ras

__all__ = [
    "REGION_COLOURS",
    "SAMPLES",
    "CaseView",
    "Masks",
    "Sample",
    "choose_samples",
    "choose_slices",
    "curves",
    "figure_array",
    "gallery",
    "montage",
    "optional_picture",
    "ras_affine",
    "region_colours",
    "sample_grid",
    "samples_title",
    "save_figure",
    "shown_channel",
    "slice_numbers",
    "to_ras",
]
