"""Pictures of explanations: maps over their scans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from volseg.attribution.explaining import PredictedCase, explained_mask
from volseg.attribution.methods import (
    OF_INPUT_GRADIENTS,
    SIGNED,
    UNITS,
    ExplainOptions,
    Explanation,
)
from volseg.cases.channels import channel_of
from volseg.figures.figure_files import save_figure
from volseg.figures.heat_map import HeatMap, heat_figure
from volseg.figures.samples import shown_channel
from volseg.labels import Masks

_OF_STRIDES = "a regular grid of dots comes from the strides of the network, not from the scan"
# Regions that are outlined where a contrast agent shows; all others where oedema does.
_CORES, _SHOWN_IN = frozenset(("TC", "ET", "NCR", "NETC", "GTV")), "t1c"


def draw_map(
    predicted: PredictedCase,
    explanation: Explanation,
    options: ExplainOptions,
    reference: Masks | None,
    path: Path,
) -> None:
    """Draw a map over its scan, with the outline of its region in prediction and reference.

    Args:
        predicted: The case, prepared with its images for pictures.
        explanation: Explanation of a region.
        options: Its options.
        reference: Masks of the reference on the grid of the scan, if there are any.
        path: Picture to write.

    Raises:
        ValueError: If the case has no images for pictures.
        OutputError: If the picture cannot be written.
    """
    greys, region = predicted.case.greys, explanation.region
    if greys is None:
        raise ValueError("its images cannot be drawn")
    target = explained_mask(predicted, region, at_maximum=options.at_maximum)
    scheme, label_map = predicted.prediction.scheme, predicted.prediction.label_map
    masks = [one.get(region) for one in (reference or {}, scheme.masks(label_map))]
    box = greys.box_with(np.any([target, *(mask for mask in masks if mask is not None)], axis=0))
    dashed, solid = (None if one is None else {region: greys.cut(one, box)} for one in masks)
    view = greys.in_box(box, dashed, solid, predicted.case.case_id)
    heat = HeatMap(
        greys.cut(explanation.map, box),
        greys.cut(target, box),
        channel_below(region, view.images),
        "share of the largest value",
        explanation.method in SIGNED,
        (*_meaning(explanation, options), *explanation.notes),
    )
    title = f"{predicted.case.case_id}: {explanation.method} of {region}"
    save_figure(heat_figure(view, heat, title), path)


def channel_below(region: str, channels: Iterable[str]) -> str:
    """Channel to show below the map of a region.

    >>> channel_below("ET", ["t1c", "t2f"]), channel_below("WT", ["t1c", "t2f"])
    ('t1c', 't2f')
    """
    names = list(channels)
    enhanced = [name for name in names if channel_of(name) == _SHOWN_IN]
    return enhanced[0] if region in _CORES and enhanced else shown_channel(names)


def _meaning(explanation: Explanation, options: ExplainOptions) -> Iterator[str]:
    """Lines on what the values of a map are, what is explained, and where a pattern comes from."""
    how = f"layer {explanation.layer}, " if explanation.layer else ""
    how = f"boxes of {explanation.box_mm:g} mm, " if explanation.box_mm else how
    voxel = ", of the voxel in the ring"
    scale = explanation.scale
    unit = f"{f'{scale:.2g}' if scale < 100 else f'{scale:,.0f}'} {UNITS[explanation.method]}"
    yield f"{how}a value of 1 is {unit}{voxel if options.at_maximum else ''}"
    if explanation.method in OF_INPUT_GRADIENTS:
        yield _OF_STRIDES
