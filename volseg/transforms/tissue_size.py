"""Refusal of tissue that is too large for any head, before it is resampled."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from volseg.errors import ImageError
from volseg.images.case_images import CaseImages
from volseg.transforms.cleaning import Channel

# A head with neck is below 8 l and 0.5 m. Where no background is found, the whole field of view
# counts as tissue, up to 500 x 500 x 400 mm. A head whose voxels are ten times too long has about
# 4000 l and 1.5 m, which fills the memory at a spacing of 1 mm.
_LONGEST_M, _LARGEST_L = 1.0, 100


def check_tissue_size(
    images: CaseImages, channels: Sequence[Channel], box: tuple[slice, ...]
) -> None:
    """Raise ImageError if the tissue in its box is larger than any head can be.

    The size of a voxel of slices may be unknown, so they are not checked.
    """
    if images.slices:
        return
    crop = images.grid.crop(box)
    sides = [n * mm / 1000 for n, mm in zip(crop.shape, crop.spacing_mm, strict=True)]
    litres = math.prod(sides) * 1000
    if litres > _LARGEST_L:
        voxels = max(np.count_nonzero(channel.cut(box).mask()) for channel in channels)
        litres = voxels * crop.voxel_ml / 1000
    if max(sides) <= _LONGEST_M and litres <= _LARGEST_L:
        return
    spacing = " x ".join(f"{mm:.4g}" for mm in images.grid.spacing_mm)
    raise ImageError(
        f"tissue extends over {' x '.join(f'{side:.2f}' for side in sides)} m with voxels of "
        f"{spacing} mm, but a head measures less than {_LONGEST_M:g} m and {_LARGEST_L} litres",
        remedy="correct the voxel size in the header",
    )
