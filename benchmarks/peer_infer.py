"""MONAI's bundle way to segment a folder: windows over the whole volume, transforms inverted.

The steps are those of `brats_mri_segmentation` in the model zoo, with the window, the overlap and
the orientation of the model that is compared.

    python peer_infer.py JOB      JOB: JSON with network, weights, cases, window, overlap, output
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from monai.data import DataLoader, Dataset, decollate_batch
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    SaveImaged,
)

AXES = (("L", "R"), ("P", "A"), ("I", "S"))


class LabelMap:
    """Region masks (WT, TC, ET) to a label map, as the bundle's own last step."""

    def __init__(self, values: list[int]) -> None:
        self.values = values

    def __call__(self, data: dict) -> dict:
        masks = data["pred"] > 0
        label_map = torch.zeros_like(data["pred"][:1])
        inside = torch.ones_like(masks[0])
        for mask, value in zip(masks, self.values, strict=True):
            inside = inside & mask
            label_map[0][inside] = value
        return {**data, "pred": label_map}


@torch.inference_mode()
def main(job: dict) -> None:
    before = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS", labels=AXES),
            NormalizeIntensityd("image", nonzero=True, channel_wise=True),
        ]
    )
    after = Compose(
        [
            Activationsd("pred", sigmoid=True),
            Invertd("pred", transform=before, orig_keys="image", nearest_interp=False),
            AsDiscreted("pred", threshold=0.5),
            LabelMap(job["values"]),
            SaveImaged(
                "pred",
                output_dir=job["output"],
                output_postfix="seg",
                separate_folder=False,
                resample=False,
                output_dtype="uint8",
            ),
        ]
    )
    network = UNet(**job["network"]).eval()
    network.load_state_dict(torch.load(job["weights"], weights_only=True))
    inferer = SlidingWindowInferer(
        job["window"], sw_batch_size=1, overlap=job["overlap"], mode="gaussian"
    )
    # The bundle reads in four worker processes; on few cores fewer are enough to read ahead.
    workers = max(1, min(4, len(os.sched_getaffinity(0)) - 1))
    cases = [{"image": paths} for paths in job["cases"]]
    for batch in DataLoader(Dataset(cases, before), num_workers=workers):
        batch["pred"] = inferer(batch["image"], network)
        for item in decollate_batch(batch):
            after(item)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
