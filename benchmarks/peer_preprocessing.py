"""From four files to a normalised, cropped array by MONAI: a side of `preprocessing.py`.

    python peer_preprocessing.py SPACING FILE FILE FILE FILE

At 2 mm it resamples with SpatialResample, which Spacingd calls; Spacingd itself keeps the centre of
the first voxel and takes every second value without averaging, so its numbers would be others. On
the grid of volseg, whose voxels are pairs of old ones, its linear interpolation is their mean. As
in volseg, air takes no part in the normalisation: the mask of tissue is resampled as well.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from monai.transforms import (
    Compose,
    CropForegroundd,
    EnsureChannelFirstd,
    Lambdad,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    SpatialResample,
)
from worker import serve

RESAMPLE = SpatialResample(
    mode="bilinear", padding_mode="border", align_corners=False, dtype=torch.float32
)
# Two voxels along each axis become one.
DOUBLED = torch.tensor(
    [[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1]], dtype=torch.float64
)

HALVES = float(sys.argv[1]) == 2


def halved(image: Any) -> Any:
    """Image at 2 mm, 0 where less than half of a voxel is tissue."""
    shape = [-(-size // 2) for size in image.shape[1:]]
    target = {"dst_affine": image.affine @ DOUBLED, "spatial_size": shape}
    tissue = RESAMPLE((image != 0).float(), **target) >= 0.45  # of eighths, as rounded
    return RESAMPLE(image, **target) * tissue


STEPS = Compose(
    [
        LoadImaged("image"),
        EnsureChannelFirstd("image"),
        Orientationd("image", axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
        CropForegroundd(
            "image", "image", select_fn=lambda x: x != 0, margin=int(HALVES), allow_smaller=True
        ),
        *([Lambdad("image", halved)] if HALVES else []),
        NormalizeIntensityd("image", nonzero=True, channel_wise=True),
    ]
)


def work() -> Any:
    return np.asarray(STEPS({"image": sys.argv[2:]})["image"])


if __name__ == "__main__":
    serve(work)
