"""Random training patches with full augmentation: volseg beside MONAI's CacheDataset and nnU-Net.

    python benchmarks/patches.py [CASE_FOLDERS] [--rounds N] [--small]

The scans are cases with a label map of BraTS up to 2023; without them, phantoms. Every side gives
batches of patches of four channels with the masks of three regions, float32, in one process and
one thread: no loader process, so that what a core does is counted. What may be prepared once, is:
our cache, MONAI's CacheDataset in memory, nnU-Net's preprocessed dataset; it does not count.

`FULL` is what every side draws, with the probabilities of nnU-Net; nnU-Net itself takes its own.
Patches are random, so what is compared is where nothing is changed: our patch and the block that
MONAI's preprocessed case has at the same place.

Prints core seconds and seconds of a patch, their ratios pair by pair, and the most memory; then the
memory with more cases, for which cases are repeated.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import peers
from side_by_side import (
    HERE,
    Cost,
    Side,
    in_turn,
    largest_difference,
    machine,
    median,
    options,
    print_table,
    ratios,
)

from volseg.cases.case import Case
from volseg.cases.data_list import read_data_list
from volseg.config import AugmentationConfig, load_config
from volseg.phantoms.cohort import make_cohort
from volseg.tasks.split import split
from volseg.training.cache.cases import build_cache
from volseg.training.datamodule import PatchDataset

FULL = AugmentationConfig(
    flip=0.5,
    rotate=0.2,
    rotate_degrees=30,
    scale=0.2,
    scale_range=(0.7, 1.4),
    intensity_scale=0.15,
    intensity_shift=0.15,
    intensity_range=0.25,
    bias_field=0.1,
    noise=0.1,
    noise_std=0.1,
    blur=0.2,
    contrast=0.15,
    low_resolution=0.25,
    gamma=0.3,
    channel_dropout=0.1,
)
# Our cache holds 16 bits a voxel: of a value of 8, the last is worth 0.008. Half of it is lost.
TOLERANCE = 5e-3
FOREGROUND, BATCH, PLACES = 0.33, 2, 6
SIZE, SMALL_SIZE = 128, 32
PATCHES, SMALL_PATCHES = 16, 4
COHORTS = (2, 8, 64)


class Setting:
    """A folder with what the sides are told: data list, config and tasks.

    Args:
        folder: Gets everything that is written.
        scans: Folders of cases.
        small: Small patches, and MONAI from this environment.
    """

    def __init__(self, folder: Path, scans: Sequence[Path], small: bool) -> None:
        self.folder, self.small = folder, small
        self.size = [SMALL_SIZE if small else SIZE] * 3
        self.patches = SMALL_PATCHES if small else PATCHES
        split(scans, folder / "list.json", folds=2)
        self.cases = read_data_list(folder / "list.json").training

    def config(self, augmentation: AugmentationConfig) -> Path:
        """File of an experiment."""
        data = {
            "data_list": str(self.folder / "list.json"),
            "cache_dir": str(self.folder / "cache"),
            "patch_size": self.size,
            "batch_size": BATCH,
            "batches_per_epoch": 10**6,
            "foreground_share": FOREGROUND,
            "workers": 0,
        }
        experiment = {
            "labels": "brats2021",
            "data": data,
            "augmentation": augmentation.model_dump(mode="json"),
            "network": {"name": "unet"},
        }
        path = self.folder / f"config-{augmentation.flip}.yaml"
        path.write_text(json.dumps(experiment), encoding="utf-8")
        return path

    def side(self, name: str, cases: int, places: Sequence[Any] = ()) -> Side:
        """Start `volseg`, `MONAI` or `nnU-Net`; with places it gives plain patches."""
        changes = nothing() if places else FULL
        count = min(cases, len(self.cases))
        task = {
            "config": str(self.config(changes)),
            "augmentation": {**changes.model_dump(), "foreground_share": FOREGROUND},
            "cases": [described(self.cases[n % count], n // count) for n in range(cases)],
            "count": count,
            "repeat": cases // count,
            "places": places,
            "patch": self.size,
            "batch": BATCH,
            "patches": self.patches,
        }
        path = self.folder / f"task-{name}-{cases}-{len(places)}.json"
        path.write_text(json.dumps(task), encoding="utf-8")
        scripts = {
            "volseg": "our_patches.py",
            "MONAI": "peer_monai_patches.py",
            "nnU-Net": "peer_nnunet_patches.py",
        }
        ours = name == "volseg" or self.small
        return Side(
            [sys.executable if ours else peers.python(), str(HERE / scripts[name]), str(path)],
            path.with_suffix(".log"),
            {
                **(os.environ if ours else peers.environment(self.folder / "nnunet")),
                "PYTHONPATH": str(HERE),
                "OMP_NUM_THREADS": "1",
            },
        )


def described(case: Case, copy: int) -> dict[str, Any]:
    """What the peers need to know of a case; a copy has another name."""
    files = dict(zip(case.channels, case.images, strict=True))
    images = [str(files[channel].absolute()) for channel in ("t1n", "t1c", "t2w", "t2f")]
    name = case.case_id if copy == 0 else f"{case.case_id}-{copy}"
    return {"name": name, "image": images, "mask": str(case.label[0].absolute())}


def nothing() -> AugmentationConfig:
    """No changes."""
    names = {
        name for name in AugmentationConfig.model_fields if not name.endswith(("range", "std"))
    }
    kept = {"rotate_degrees", "elastic_spacing", "blur_sigma"}
    return AugmentationConfig(**dict.fromkeys(names - kept, 0.0))


def main() -> None:
    wanted = options(__doc__).parse_args()
    rounds = min(wanted.rounds, 2) if wanted.small else wanted.rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not wanted.scans:
            shape = (56, 56, 48) if wanted.small else (240, 240, 155)
            make_cohort(folder / "scans", 4, shape, 1.0)
        setting = Setting(folder, wanted.scans or [folder / "scans"], wanted.small)
        print(machine("monai", "numpy"), end="\n\n")
        print(f"largest difference of a voxel without changes: {difference(setting):.4f}\n")
        compare(setting, rounds)
        if not wanted.small:
            print()
            compare_memory(setting)


def difference(setting: Setting) -> float:
    """Between our patches and MONAI's blocks at the same places.

    Raises:
        SystemExit: If it is larger than what 16 bits explain.
    """
    config = load_config(setting.config(nothing()))
    cases, _ = build_cache(setting.cases, config, Path(config.data.cache_dir))
    dataset = PatchDataset(cases, config)
    places = []
    for number in range(PLACES):
        case, start = dataset.place(number)
        places.append((case.case.case_id, start.tolist()))
    saved = []
    for name in ("volseg", "MONAI"):
        side = setting.side(name, len(setting.cases), places)
        saved.append(setting.folder / f"{name}.npz")
        side(saved[-1])
        side.close()
    found = largest_difference(*saved)
    if found > TOLERANCE:
        raise SystemExit(f"a plain patch of the sides differs by {found}")
    return found


def compare(setting: Setting, rounds: int) -> None:
    """Print what a patch costs on each side."""
    names = ("volseg", "MONAI") if setting.small else ("volseg", "MONAI", "nnU-Net")
    sides = {name: setting.side(name, len(setting.cases)) for name in names}
    in_turn(sides, 1)  # the first call pays for set-up
    costs = in_turn(sides, rounds)
    for side in sides.values():
        side.close()
    head = ("side", "core s a patch", "s a patch", "core ratio", "ratio", "most MB")
    print_table(head, [row(name, costs[name], costs["volseg"], setting.patches) for name in names])


def row(name: str, costs: Sequence[Cost], ours: Sequence[Cost], patches: int) -> list[str]:
    """Of the table of costs."""
    ratio = ["" if costs is ours else ratios(ours, costs, what) for what in ("cpu_s", "wall_s")]
    each = [f"{median(costs, what) / patches:.3f}" for what in ("cpu_s", "wall_s")]
    return [name, *each, *ratio, f"{median(costs, 'peak_mb'):.0f}"]


def compare_memory(setting: Setting) -> None:
    """Print how much memory the sides hold with more and more cases."""
    rows = []
    for name in ("volseg", "MONAI"):
        most = []
        for cases in COHORTS:
            side = setting.side(name, cases)
            most.append(side().peak_mb)
            side.close()
        rows.append([name, *(f"{megabytes:.0f}" for megabytes in most)])
    print_table(("most MB with", *(f"{cases} cases" for cases in COHORTS)), rows)


if __name__ == "__main__":
    main()
