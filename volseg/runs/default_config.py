"""A config for cases that were just found: of volumes or of slices, all else by default."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from volseg.cases.data_list import DataList
from volseg.config.networks.unet import UNetConfig
from volseg.errors import DataListError

# Of slices: the widths of the shipped configs, and the side of a patch that a small GPU holds.
_WIDTHS = (16, 32, 64, 128, 256)
_LARGEST_SIDE = 256


def default_config(data_list: DataList, path: Path) -> str:
    """A config as YAML: a residual U-Net, in 3D, or in 2D where the cases are stacks of slices.

    Args:
        data_list: The cases.
        path: Its file, relative to the folder that commands are called from.

    Raises:
        DataListError: If there are stacks of slices beside volumes.
        VolsegError: If the first slice cannot be read.
    """
    by_slice = {bool(case.slices) for case in data_list.training}
    if len(by_slice) > 1:
        raise DataListError(
            "there are stacks of slices beside volumes, and a network is for one of both",
            remedy="name the folder of one kind",
        )
    schemes = Counter(case.labels for case in data_list.training if case.labels)
    lines = [
        f"labels: {schemes.most_common(1)[0][0]}",
        "data:",
        # A text of JSON is one of YAML as well, whatever the name of the folder holds.
        f"  data_list: {json.dumps(path.as_posix())}",
        "  fold: 0",
        f"  channels: {json.dumps(list(data_list.channels))}",
    ]
    if by_slice == {True}:
        lines += _slice_lines(data_list)
        kind = "2D U-Net, slice by slice"
    else:
        lines += ["network:", "  name: unet"]
        kind = "residual 3D U-Net"
    return "\n".join([f"# {kind[0].upper()}{kind[1:]}; written by volseg fit.", *lines]) + "\n"


def _slice_lines(data_list: DataList) -> Sequence[str]:
    """Patches of whole slices, as far as they are small, at the size of their pixels."""
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
