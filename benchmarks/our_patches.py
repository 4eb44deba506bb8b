"""Our side of `patches.py`: batches of the loader that training uses, in this process."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch
import worker

from volseg.cases.data_list import read_data_list
from volseg.config import load_config
from volseg.training.cache.cases import build_cache
from volseg.training.datamodule import PatchDataset, VolumeDataModule


def copied(entry: Path, number: int) -> Path:
    """The entry, or a copy of it, as if there were more cases."""
    if number == 0:
        return entry
    target = entry.parent / "copies" / f"{number}-{entry.name}"
    if not target.exists():
        shutil.copytree(entry, target)
    return target


torch.set_num_threads(1)
task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
config = load_config(Path(task["config"]))
chosen = read_data_list(Path(config.data.data_list)).training[: task["count"]]
cases, _ = build_cache(chosen, config, Path(config.data.cache_dir))
cases = [
    replace(case, entry=copied(case.entry, number))
    for number in range(task["repeat"])
    for case in cases
]


def patches() -> None:
    """As many patches as the task asks for; numbers go on, so that no call repeats another."""
    for _ in range(task["patches"] // task["batch"]):
        batch = next(batches)
        if batch["image"].shape[1:] != (4, *task["patch"]) or batch["mask"].shape[1] != 3:
            raise SystemExit(f"a batch has shape {tuple(batch['image'].shape)}")


def plain() -> dict[str, torch.Tensor]:
    """The first patches as they are cut."""
    samples = [PatchDataset(cases, config)[number] for number in range(len(task["places"]))]
    return {
        f"{name} {number}": sample[name]
        for number, sample in enumerate(samples)
        for name in ("image", "mask")
    }


module = VolumeDataModule(config, cases, ())
batches = iter(module.train_dataloader())
worker.serve(plain if task["places"] else patches)
