"""From the four files of a case to a normalised, cropped array: volseg beside MONAI's transforms.

    python benchmarks/preprocessing.py [CASE_FOLDERS] [--rounds N] [--small]

Without folders: a phantom of 240 x 240 x 155. Of folders, the first case counts. Both sides are
ready when they are told to work: their imports do not count. MONAI's are LoadImaged,
EnsureChannelFirstd, Orientationd, CropForegroundd and NormalizeIntensityd; at 2 mm it resamples
before it normalises. Values are compared as float32, to which volseg computes.

Memory is the most that a side held while it worked: above what it held when its imports were done,
and with that.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

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

from volseg.config import CHANNELS
from volseg.finding.folders import find_cases
from volseg.phantoms.cohort import make_cohort

# MONAI resamples with coordinates in float32: half a voxel is so to about 1e-5, a value to 1e-3.
TOLERANCE = {1: 1e-5, 2: 1e-3}


def compare(spacing: int, files: Sequence[str], given: argparse.Namespace, folder: Path) -> list:
    theirs = sys.executable if given.small else peers.python()
    words = [str(spacing), *files]
    commands = {
        "volseg": [sys.executable, str(HERE / "our_preprocessing.py"), *words],
        "MONAI": [theirs, str(HERE / "peer_preprocessing.py"), *words],
    }
    sides = {name: Side(command, folder / f"{name}.log") for name, command in commands.items()}
    for name, side in sides.items():  # warms up, too
        side(folder / f"{name}.npz")
    apart = largest_difference(folder / "volseg.npz", folder / "MONAI.npz")
    if apart > TOLERANCE[spacing]:
        raise SystemExit(f"at {spacing} mm a voxel differs by {apart}")
    in_turn(sides, 1)  # what is set up at the first call does not count
    costs = in_turn(sides, 2 if given.small else given.rounds)
    for side in sides.values():
        side.close()
    return rows(f"{spacing} mm", costs, apart)


def rows(name: str, costs: dict[str, list[Cost]], apart: float) -> list[list[str]]:
    figures = ("wall_s", "cpu_s", "grown_mb", "peak_mb")
    table = []
    for side, found in costs.items():
        told = [f"{median(found, what):.{3 if what.endswith('s') else 0}f}" for what in figures]
        table.append([f"{name}, {side}", *told, ""])
    times = [ratios(costs["volseg"], costs["MONAI"], what) for what in figures]
    return [*table, ["MONAI / volseg", *times, f"{apart:.1e}"]]


def main(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shape = (48, 40, 32) if given.small else (240, 240, 155)
        scans = given.scans or make_cohort(folder / "scans", 1, shape, 1.0)
        case = find_cases(scans).cases[0]
        places = dict(zip(case.channels, case.images, strict=True))
        files = [str(places[channel].absolute()) for channel in CHANNELS]
        table = [row for spacing in (1, 2) for row in compare(spacing, files, given, folder)]
    print(f"{case.case_id}; {machine('monai')}\n")
    head = ["", "s", "core s", "MB more than before", "MB in all", "largest difference"]
    print_table(head, table)


if __name__ == "__main__":
    main(options(__doc__ or "").parse_args())
