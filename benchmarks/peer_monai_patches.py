"""MONAI's side of `patches.py`: its CacheDataset and its random transforms, in this process.

What is deterministic is in the cache, the places of foreground too, as its pages advise. Rotation
and scaling are one resampling with the probability of either. It has no warp by splines, and that
by a blurred field takes seconds a patch, so none is drawn on any side; to drop a channel is its
RandLambda. Grey values are not kept to tissue, as ours are.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
import worker
from monai.data import CacheDataset, DataLoader
from monai.transforms import (
    ConvertToMultiChannelBasedOnBratsClassesd,
    CropForegroundd,
    EnsureChannelFirstd,
    FgBgToIndicesd,
    Lambdad,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    RandAdjustContrastd,
    RandAffined,
    RandBiasFieldd,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandLambdad,
    RandScaleIntensityd,
    RandScaleIntensityFixedMeand,
    RandShiftIntensityd,
    RandSimulateLowResolutiond,
    SpatialPadd,
)
from torch.utils.data import RandomSampler

torch.set_num_threads(1)
task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
options = task["augmentation"]
BOTH = ("image", "mask")


def deterministic() -> list[Any]:
    """From files to regions TC, WT, ET and normalised channels."""
    return [
        LoadImaged(BOTH),
        EnsureChannelFirstd(BOTH),
        # BraTS stores enhancing tumour as 4 or as 3.
        Lambdad("mask", lambda x: torch.where(x == 3, 4, x)),
        Orientationd(BOTH, axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
        ConvertToMultiChannelBasedOnBratsClassesd("mask"),
        CropForegroundd(BOTH, "image", select_fn=lambda x: x != 0, allow_smaller=True),
        NormalizeIntensityd("image", nonzero=True, channel_wise=True),
    ]


def crop() -> list[Any]:
    """A random patch, centred on foreground as often as the others' are."""
    share = options["foreground_share"]
    return [
        SpatialPadd(BOTH, task["patch"]),
        FgBgToIndicesd("mask"),
        RandCropByPosNegLabeld(
            BOTH,
            "mask",
            task["patch"],
            pos=share,
            neg=1 - share,
            fg_indices_key="mask_fg_indices",
            bg_indices_key="mask_bg_indices",
        ),
    ]


def changes() -> list[Any]:
    """Each with the probability and the strength of the others' sides."""
    o = options
    spread = o["intensity_range"]
    low, high = o["scale_range"]
    return [
        *(RandFlipd(BOTH, o["flip"], axis) for axis in range(3)),
        RandAffined(
            BOTH,
            prob=1 - (1 - o["rotate"]) * (1 - o["scale"]),
            rotate_range=[math.radians(o["rotate_degrees"])] * 3,
            # Of the grid: a smaller factor shows things larger.
            scale_range=[(1 / high - 1, 1 / low - 1)] * 3,
            mode=("bilinear", "nearest"),
            padding_mode="zeros",
        ),
        RandBiasFieldd("image", coeff_range=(0, o["bias_field_range"]), prob=o["bias_field"]),
        RandGaussianNoised("image", o["noise"], std=o["noise_std"]),
        RandGaussianSmoothd("image", *[o["blur_sigma"]] * 3, prob=o["blur"]),
        RandScaleIntensityFixedMeand(
            "image",
            [factor - 1 for factor in o["contrast_range"]],
            preserve_range=True,
            prob=o["contrast"],
            channel_wise=True,
        ),
        RandScaleIntensityd("image", spread, prob=o["intensity_scale"], channel_wise=True),
        RandShiftIntensityd("image", spread, prob=o["intensity_shift"], channel_wise=True),
        RandSimulateLowResolutiond(
            "image",
            o["low_resolution"],
            upsample_mode="trilinear",
            zoom_range=o["low_resolution_range"],
        ),
        RandAdjustContrastd("image", o["gamma"], o["gamma_range"], retain_stats=True),
        RandLambdad("image", drop_one, prob=1 - (1 - o["channel_dropout"]) ** 4),
    ]


def drop_one(image: torch.Tensor) -> torch.Tensor:
    dropped = image.clone()
    dropped[torch.randint(4, ())] = 0
    return dropped


def patches() -> None:
    """As many patches as the task asks for."""
    for _ in range(task["patches"] // task["batch"]):
        batch = next(batches)
        if batch["image"].shape[1:] != (4, *task["patch"]) or batch["mask"].shape[1] != 3:
            raise SystemExit(f"a batch has shape {tuple(batch['image'].shape)}")


def plain() -> dict[str, torch.Tensor]:
    """Blocks of the preprocessed cases at the places that the other side drew."""
    found = {}
    size = task["patch"]
    for number, (case, start) in enumerate(task["places"]):
        whole = dataset[[item["name"] for item in task["cases"]].index(case)]
        for name, value in zip(BOTH, (whole["image"], whole["mask"][[1, 0, 2]]), strict=True):
            # A place may lie outside; a margin of zeros makes it an index.
            width = [n for side in reversed(size) for n in (side, side)]
            padded = torch.nn.functional.pad(value.as_tensor().float(), width)
            box = [slice(a + n, a + 2 * n) for a, n in zip(start, size, strict=True)]
            found[f"{name} {number}"] = padded[(slice(None), *box)]
    return found


steps = deterministic() if task["places"] else [*deterministic(), *crop(), *changes()]
dataset = CacheDataset(task["cases"], steps, num_workers=1, progress=False)
# An epoch would end within a batch where there are fewer cases than a batch takes.
drawn = RandomSampler(dataset, replacement=True, num_samples=10**6)
batches = iter(DataLoader(dataset, batch_size=task["batch"], sampler=drawn, num_workers=0))
worker.serve(plain if task["places"] else patches)
