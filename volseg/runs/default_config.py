"""Default config for cases of a folder: a 3D network for volumes, a 2D network for slices."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from volseg.cases.data_list import DataList
from volseg.config.networks.unet import UNetConfig
from volseg.errors import DataListError
from volseg.labels import LABEL_SCHEMES

# For slices: widths as in the shipped configs, and the largest side of a patch on a small GPU.
_WIDTHS = (16, 32, 64, 128, 256)
_LARGEST_SIDE = 256

# For volumes without a CUDA GPU: options of configs/brats_laptop.yaml, which an installed volseg
# does not have.
_FOR_CPUS: dict[str, dict[str, Any]] = {
    "data": {
        "spacing_mm": [2.0, 2.0, 2.0],
        "patch_size": [64, 64, 64],
        "batch_size": 2,
        "batches_per_epoch": 50,
        "foreground_share": 0.66,
    },
    "augmentation": {
        "rotate": 0.3,
        "scale": 0.3,
        "intensity_scale": 0.5,
        "intensity_shift": 0.5,
        "intensity_range": 0.4,
        "noise": 0.2,
        "blur": 0.2,
        "contrast": 0.3,
        "contrast_range": [0.6, 1.5],
        "low_resolution": 0.2,
        "gamma": 0.3,
        "gamma_range": [0.6, 1.8],
        "channel_dropout": 0.15,
    },
    "network": {"name": "unet", "widths": [16, 32, 64, 128], "dropout": 0.2},
    "training": {
        "max_epochs": 12,
        "max_time": "00:29:00",
        "learning_rate": 2.0e-3,
        "weight_decay": 0.01,
        "warmup_epochs": 1,
        "ema": 0.99,
        "validate_every": 2,
    },
}


def possible_options(path: Path, *, for_cpus: bool = False) -> Iterator[dict[str, Any]]:
    """Options of the default configs of all kinds of cases, in each label scheme.

    Overrides are checked with them before any scan is read.
    """
    for labels in LABEL_SCHEMES:
        data = {"data_list": str(path), "fold": 0}
        if for_cpus:
            yield {"labels": labels, **_FOR_CPUS, "data": data | _FOR_CPUS["data"]}
        else:
            yield {"labels": labels, "data": data, "network": {"name": "unet"}}
        yield {
            "labels": labels,
            "data": data | {"patch_size": [_LARGEST_SIDE] * 2},
            "network": {"name": "unet", "widths": list(_WIDTHS)},
        }


def default_config(
    data_list: DataList,
    path: Path,
    labels: str | Mapping[str, Any] | None = None,
    *,
    for_cpus: bool = False,
) -> str:
    """A config as YAML: a residual U-Net, in 2D if the cases are stacks of slices, else in 3D.

    Args:
        data_list: The cases.
        path: File of the data list, relative to the current folder.
        labels: Label scheme, by name or written out; None: the most frequent scheme of the cases.
        for_cpus: Whether a network for volumes is trained without a CUDA GPU.

    Raises:
        DataListError: If the list holds both volumes and stacks of slices.
        VolsegError: If the first slice cannot be read.
    """
    by_slice = {bool(case.slices) for case in data_list.training}
    if len(by_slice) > 1:
        raise DataListError(
            "there are both volumes and stacks of slices, but a network is for only one of them",
            remedy="give a folder that holds one kind",
        )
    if labels is None:
        schemes = Counter(case.labels for case in data_list.training if case.labels)
        labels = schemes.most_common(1)[0][0]
    lines = [
        f"labels: {labels if isinstance(labels, str) else json.dumps(labels)}",
        "data:",
        # A JSON string is valid YAML for any folder name.
        f"  data_list: {json.dumps(path.as_posix())}",
        "  fold: 0",
        f"  channels: {json.dumps(list(data_list.channels))}",
    ]
    if by_slice == {True}:
        lines += _slice_lines(data_list)
        kind = "2D U-Net, slice by slice"
    elif for_cpus:
        lines += _lines_for_cpus()
        kind = "small residual 3D U-Net for CPUs, as in configs/brats_laptop.yaml"
    else:
        lines += ["network:", "  name: unet"]
        kind = "residual 3D U-Net"
    return "\n".join([f"# {kind[0].upper()}{kind[1:]}; written by volseg fit.", *lines]) + "\n"


def _lines_for_cpus() -> Iterator[str]:
    """Lines after the first ones of section `data`, which has begun."""
    for section, options in _FOR_CPUS.items():
        if section != "data":
            yield f"{section}:"
        yield from (f"  {name}: {json.dumps(value)}" for name, value in options.items())


def _slice_lines(data_list: DataList) -> Sequence[str]:
    """Lines for slices at their own spacing: patches of undivided slices, up to a largest side."""
    divisor = UNetConfig(widths=_WIDTHS).divisor
    grid = data_list.training[0].read_grid(data_list.channels, None)
    sides = [min(_LARGEST_SIDE, -(-side // divisor) * divisor) for side in grid.shape[:2]]
    spacing = [round(mm, 4) for mm in grid.spacing_mm]
    return [
        f"  spacing_mm: {json.dumps(spacing)}",
        f"  patch_size: {json.dumps(sides)}",
        "  batch_size: 16",
        "network:",
        "  name: unet",
        f"  widths: {json.dumps(_WIDTHS)}",
    ]
