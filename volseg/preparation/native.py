"""A label map of a prepared case, brought back onto the grid of an original image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from volseg.images.grid import Affine, Grid
from volseg.preparation.resampling import resample
from volseg.preparation.volume import Volume


def to_native(
    label_map: npt.NDArray[np.integer], prepared: Grid, native: Grid, matrix: Affine
) -> npt.NDArray[np.uint8]:
    """The label map on the grid of an original image; 0 outside the prepared grid.

    Each voxel takes the label, or the background, that fills most of it. Shares are interpolated
    linearly, so surfaces stay smooth, and averaged over thick slices, so volumes are kept.

    Args:
        label_map: (I, J, K) on `prepared`.
        prepared: Grid of the label map.
        native: Grid of the original image.
        matrix: (4, 4) from the world of `prepared` to the world of `native` (RAS, mm), as the
            record of the preparation holds it.

    Returns:
        uint8 of shape `native.shape`.
    """
    values = label_map.astype(np.uint8, copy=False)
    pull = np.linalg.inv(matrix.astype(np.float64))
    found = resample(Volume(values, prepared), native, pull, "label")
    return found.astype(np.uint8, copy=False)
