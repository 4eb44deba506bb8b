"""A volume: the values of one image and the grid that they lie on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy.typing as npt

from volseg.images.grid import Grid


class Volume(NamedTuple):
    """Values (I, J, K) of any real type, and their grid."""

    values: npt.NDArray[Any]
    grid: Grid
