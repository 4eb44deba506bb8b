"""A small experiment on disk, and what stands for runs of it; nothing is trained."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

CHANNELS = ("t1n.nii", "t1c.nii", "t2w.nii", "t2f.nii")


def write_experiment(folder: Path, **options: object) -> Path:
    """A config whose data list has the folds 0, 1 and 2; the scans are empty files."""
    cases = []
    for n, place in enumerate((".", "c1", "c2")):
        (folder / place).mkdir(exist_ok=True)
        names = [f"{place}/{name}" for name in (*CHANNELS, "seg.nii")]
        for name in names:
            (folder / name).touch()
        case = {"case_id": f"c{n}", "patient_id": f"p{n}", "fold": n}
        cases.append(case | {"image": names[:-1], "label": names[-1]})
    listed = {"volseg": 1, "name": "list", "channels": ["t1n", "t1c", "t2w", "t2f"]}
    (folder / "list.json").write_text(json.dumps(listed | {"data_root": ".", "training": cases}))
    config = {"labels": "brats2023", "data": {"data_list": "list.json"}, "slurm": {"gpus": 2}}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(config | options))
    return path


def write_small_config(path: Path, data_list: Path, **sections: dict[str, object]) -> Path:
    """Config of a training that takes seconds; `sections` change options or add some."""
    options: dict[str, dict[str, object]] = {
        "data": {
            "data_list": str(data_list),
            "fold": 0,
            "spacing_mm": [4, 4, 4],
            "patch_size": [16, 16, 16],
            "batch_size": 2,
            "batches_per_epoch": 3,
            "workers": 0,
        },
        "network": {"name": "attention_unet", "widths": [4, 8]},
        "training": {"max_epochs": 2, "accelerator": "cpu"},
    }
    changed = {
        name: options.get(name, {}) | sections.get(name, {}) for name in {**options, **sections}
    }
    path.write_text(yaml.safe_dump({"labels": "brats2023"} | changed), encoding="utf-8")
    return path


def change_cases(**changes: object) -> None:
    """Change every case of the list in the current folder; None takes a key away."""
    listed = json.loads(Path("list.json").read_text())
    for case in listed["training"]:
        case.update(changes)
        for key, value in changes.items():
            if value is None:
                del case[key]
    Path("list.json").write_text(json.dumps(listed))


def checkpoint_in(folder: Path) -> None:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "step-00000001.ckpt").touch()


def run_in(folder: Path, fold: int = 0, *, finished: bool = False) -> None:
    """A run of the experiment in the current folder, as `fit` leaves it."""
    checkpoint_in(folder)
    config = yaml.safe_load(Path("small.yaml").read_text())
    config["data"]["fold"] = fold
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    listed = json.loads(Path("list.json").read_text())
    root = "/".join([".."] * len(folder.parts))
    (folder / "data_list.json").write_text(json.dumps(listed | {"data_root": root}))
    if finished:
        (folder / "environment.json").write_text('{"finished": true}')
