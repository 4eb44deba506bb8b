"""Reading, preprocessing and resampling a case: volseg beside MONAI's transforms, same result.

    python benchmarks/preprocessing.py [CASE_FOLDER]      default: a phantom of 240 x 240 x 155

Prints the seconds of each and their ratio, medians of five pairs that run in turn: from files to
the network's grid at the spacing of the scan (1 mm) and at 2 mm, then the resampling alone: four
channels to 2 mm, and three regions back.

MONAI resamples with SpatialResample, which Spacingd calls; Spacingd itself keeps the centre of the
first voxel and takes every second value without averaging, so its numbers would be others. On the
grid of volseg, whose voxels are pairs of old ones, its linear interpolation is their mean.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
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

from volseg.config import CHANNELS, DataConfig
from volseg.datalist import Case, find_cases
from volseg.nifti import Grid, read_case
from volseg.phantoms import make_cohort
from volseg.transforms import preprocess, to_original

PAIRS = 5
RESAMPLE = SpatialResample(
    mode="bilinear", padding_mode="border", align_corners=False, dtype=torch.float32
)


def ours(case: Case, spacing: float) -> np.ndarray:
    images = read_case(case.case_id, case.images, case.channels, CHANNELS)
    return preprocess(images, DataConfig(data_list="", spacing_mm=(spacing,) * 3)).image


def monai(case: Case, spacing: float) -> np.ndarray:
    files = dict(zip(case.channels, case.images, strict=True))
    steps = [
        LoadImaged("image"),
        EnsureChannelFirstd("image"),
        Orientationd("image", axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
        CropForegroundd("image", "image", select_fn=lambda x: x != 0, margin=1, allow_smaller=True),
        *([Lambdad("image", monai_halved)] if spacing == 2 else []),
        NormalizeIntensityd("image", nonzero=True, channel_wise=True),
    ]
    loaded = Compose(steps)({"image": [files[channel] for channel in CHANNELS]})
    return np.asarray(loaded["image"])


def halved(shape: tuple[int, ...], affine: np.ndarray) -> Grid:
    """Grid whose voxels are pairs of old ones along each axis."""
    doubled = np.diag([2.0, 2.0, 2.0, 1.0])
    doubled[:3, 3] = 0.5
    i, j, k = (math.ceil(size / 2) for size in shape)
    return Grid((i, j, k), affine @ doubled)


def ours_onto(image: MetaTensor, grid: Grid) -> torch.Tensor:
    return to_original(image.as_tensor(), image.affine.numpy(), grid)


def monai_onto(image: MetaTensor, grid: Grid) -> torch.Tensor:
    return RESAMPLE(image, dst_affine=torch.from_numpy(grid.affine), spatial_size=grid.shape)


def monai_halved(image: MetaTensor) -> torch.Tensor:
    return monai_onto(image, halved(image.shape[1:], image.affine.numpy()))


def compare(name: str, first: Callable, second: Callable) -> None:
    difference = abs(np.asarray(first(), np.float32) - np.asarray(second(), np.float32)).max()
    pairs = [(seconds(first), seconds(second)) for _ in range(PAIRS)]
    a, b = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(
        f"{name:<28} volseg {a:.2f} s   MONAI {b:.2f} s   MONAI / volseg {ratio:.1f}   "
        f"largest difference of a voxel {difference:.4f}"
    )


def seconds(function: Callable) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main(folder: Path) -> None:
    case = find_cases([folder]).cases[0]
    for spacing in (1.0, 2.0):
        compare(
            f"read and preprocess at {spacing:g} mm",
            lambda spacing=spacing: ours(case, spacing),
            lambda spacing=spacing: monai(case, spacing),
        )
    images = read_case(case.case_id, case.images, case.channels, CHANNELS)
    fine, coarse = images.grid, halved(images.grid.shape, images.grid.affine)
    scan = MetaTensor(np.ascontiguousarray(images.array, np.float32), _tensor(fine))
    compare("resample 1 to 2 mm", lambda: ours_onto(scan, coarse), lambda: monai_onto(scan, coarse))
    small = MetaTensor(ours_onto(scan, coarse)[:3].contiguous(), _tensor(coarse))
    compare("resample 2 to 1 mm", lambda: ours_onto(small, fine), lambda: monai_onto(small, fine))


def _tensor(grid: Grid) -> torch.Tensor:
    return torch.from_numpy(grid.affine)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(make_cohort(Path(scratch), 1, (240, 240, 155), 1.0)[0])
