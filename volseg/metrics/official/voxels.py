"""Label maps and voxel sizes, as all programs take them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Label map (I, J, K) in the label scheme of a protocol.
LabelMap = npt.NDArray[np.integer]
#: Voxel size along the three axes in mm.
Spacing = tuple[float, float, float]


def volume_mm3(voxels: int, spacing_mm: Spacing) -> float:
    """Volume of a number of voxels in mm3, multiplied in the order of the programs."""
    i, j, k = spacing_mm
    return voxels * i * j * k
