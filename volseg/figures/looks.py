"""Look of regions in a picture of slices: outlines, filled areas, words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb

from volseg.labels import Masks


@dataclass(frozen=True)
class Look:
    """How regions are drawn.

    Attributes:
        outline: Opacity of outlines, from 0 (none) to 1.
        fill: Opacity of the areas of regions, from 0 (none) to 1; of the prediction, or of the
            reference if there is no prediction.
        words: Whether a picture has words: names, letters of sides, legend and disclaimer.
    """

    outline: float = 1.0
    fill: float = 0.0
    words: bool = True


def filling(masks: Masks, colours: Mapping[str, str], opacity: float) -> npt.NDArray[np.float32]:
    """Layer (rows, columns, RGBA), 0 to 1, that fills the masks of a slice with their colours.

    A voxel has the colour of its smallest region, so that inner regions show. Transparent voxels
    have the colour of the largest region, so that no edge is dark after an enlargement.

    >>> masks = {"WT": np.array([[True, True, False]]), "ET": np.array([[False, True, False]])}
    >>> filling(masks, {"WT": "#0000FF", "ET": "#FF0000"}, 0.5)[0].tolist()
    [[0.0, 0.0, 1.0, 0.5], [1.0, 0.0, 0.0, 0.5], [0.0, 0.0, 1.0, 0.0]]
    """
    shape = next(iter(masks.values())).shape
    layer = np.zeros((*shape, 4), np.float32)
    outer_first = sorted(masks, key=lambda region: -int(masks[region].sum()))
    layer[..., :3] = to_rgb(colours[outer_first[0]])
    for region in outer_first:
        layer[masks[region]] = (*to_rgb(colours[region]), opacity)
    return layer
