"""nnU-Net's side of `patches.py`: its loader and its own random transforms, in this process.

Its fingerprint, plan and preprocessor make the dataset, once; of the plan only the sizes of
patch and batch are ours. What it draws is its own: no shading and no dropped channels, and angles
up to 30 degrees, for which it reads a larger block. Downsampled targets are left out.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
import torch
import worker
from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprints,
    plan_experiments,
    preprocess,
)
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

NAME, NUMBER = "Dataset137_Patches", 137
PLAN, CONFIGURATION = "nnUNetPlans", "3d_fullres"


def make_raw(raw: Path) -> None:
    """Links to the scans, and label maps in the order of nnU-Net's script for BraTS."""
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True)
    for case in task["cases"]:
        for channel, path in enumerate(case["image"]):
            (raw / "imagesTr" / f"{case['name']}_{channel:04}.nii.gz").symlink_to(path)
        scan = SimpleITK.ReadImage(case["mask"])
        labels = SimpleITK.GetArrayFromImage(scan)
        if labels.max() > 4:
            raise SystemExit(f"{case['mask']} holds other labels than those of BraTS")
        # Oedema, necrosis, enhancing tumour, which is stored as 4 or as 3.
        renamed = SimpleITK.GetImageFromArray(
            np.array([0, 2, 1, 3, 3], np.uint8)[labels.astype(np.uint8)]
        )
        renamed.CopyInformation(scan)
        SimpleITK.WriteImage(renamed, str(raw / "labelsTr" / f"{case['name']}.nii.gz"))
    generate_dataset_json(
        str(raw),
        channel_names={0: "T1", 1: "T1ce", 2: "T2", 3: "Flair"},
        labels={
            "background": 0,
            "whole tumor": (1, 2, 3),
            "tumor core": (2, 3),
            "enhancing tumor": (3,),
        },
        num_training_cases=len(task["cases"]),
        file_ending=".nii.gz",
        regions_class_order=(1, 2, 3),
    )


def make_dataset(done: Path) -> None:
    """What nnUNetv2_plan_and_preprocess makes, for one configuration."""
    make_raw(Path(nnUNet_raw) / NAME)
    processes = len(os.sched_getaffinity(0))
    extract_fingerprints([NUMBER], num_processes=processes)
    plan_experiments([NUMBER])
    file = done / f"{PLAN}.json"
    plan = json.loads(file.read_text(encoding="utf-8"))
    plan["configurations"][CONFIGURATION].update(patch_size=task["patch"], batch_size=task["batch"])
    file.write_text(json.dumps(plan), encoding="utf-8")
    preprocess([NUMBER], configurations=(CONFIGURATION,), num_processes=(processes,))


def loader(done: Path) -> nnUNetDataLoader:
    """As its trainer makes it."""
    plan = json.loads((done / f"{PLAN}.json").read_text(encoding="utf-8"))
    plan["continue_training"] = False  # as its command adds to it
    dataset = json.loads((done / "dataset.json").read_text(encoding="utf-8"))
    trainer = nnUNetTrainer(plan, CONFIGURATION, "all", dataset, device=torch.device("cpu"))
    rotation, flat, initial, axes = (
        trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    )
    configuration, labels = trainer.configuration_manager, trainer.label_manager
    transforms = trainer.get_training_transforms(
        configuration.patch_size,
        rotation,
        None,
        axes,
        flat,
        use_mask_for_norm=configuration.use_mask_for_norm,
        regions=labels.foreground_regions,
    )
    return nnUNetDataLoader(
        nnUNetDatasetBlosc2(str(done / configuration.data_identifier)),
        task["batch"],
        initial,
        configuration.patch_size,
        labels,
        oversample_foreground_percent=task["augmentation"]["foreground_share"],
        probabilistic_oversampling=True,
        transforms=transforms,
    )


def patches() -> None:
    """As many patches as the task asks for."""
    for _ in range(task["patches"] // task["batch"]):
        batch: dict[str, Any] = next(batches)
        if batch["data"].shape[1:] != (4, *task["patch"]) or batch["target"].shape[1] != 3:
            raise SystemExit(f"a batch has shape {tuple(batch['data'].shape)}")


task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
if __name__ == "__main__":
    torch.set_num_threads(1)
    home = Path(nnUNet_preprocessed) / NAME
    # It prints, and so do its processes, where the answers go.
    answers = os.dup(1)
    os.dup2(2, 1)
    if not (home / "whole").exists():
        make_dataset(home)
        (home / "whole").touch()
    batches = loader(home)
    sys.stdout.flush()
    os.dup2(answers, 1)
    worker.serve(patches)
