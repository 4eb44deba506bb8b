"""How exactly channels that were moved at random come back, on real cases.

python benchmarks/registration.py CASES [--moves 10] [--slices 1|5]

Each move takes the next case and the next of three channels, moves the channel by up to 15 mm and
10 degrees, and registers it to t1c. The label map goes to the grid of the moved channel and back.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from volseg.images.grid import Affine, Grid
from volseg.images.nifti_reading import read_case
from volseg.preparation.native import to_native
from volseg.preparation.registration import register
from volseg.preparation.resampling import resample
from volseg.preparation.volume import Volume

_ENDINGS = {
    "t1c": ("t1ce", "t1c"),
    "t1n": ("t1", "t1n"),
    "t2w": ("t2", "t2w"),
    "t2f": ("flair", "t2f"),
    "seg": ("seg",),
}
_MOVED = ("t2f", "t1n", "t2w")
_LEAST_ML = 5.0


def read(folder: Path, channel: str) -> Volume:
    for ending in _ENDINGS[channel]:
        for path in folder.glob(f"*[_-]{ending}.nii*"):
            images = read_case([path], [channel], [channel])
            return Volume(images.array[0], images.grid)
    raise SystemExit(f"{folder}: no file of {channel}")


def random_move(rng: np.random.Generator, centre: npt.NDArray[np.float64]) -> Affine:
    """Matrix (4, 4) of a turn of up to 10 degrees and a shift of up to 15 mm."""
    axis, way = (each / np.linalg.norm(each) for each in rng.standard_normal((2, 3)))
    matrix = np.eye(4)
    turn = Rotation.from_rotvec(rng.uniform(0, 10) * axis, degrees=True)
    matrix[:3, :3] = turn.as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + rng.uniform(0, 15) * way
    return matrix


def grid_of_slices(grid: Grid, mm: float) -> Grid:
    """The same extent in voxels of 2 x 2 x `mm`."""
    size = np.array((2, 2, mm)) / grid.spacing_mm
    step = np.diag([*size, 1.0])
    step[:3, 3] = (size - 1) / 2
    i, j, k = (int(n) for n in np.ceil(np.array(grid.shape) / size))
    return Grid((i, j, k), grid.affine @ step)


def dice_back(seg: Volume, native: Grid, matrix: Affine) -> list[float]:
    """Dice of each region over 5 ml that went to a native grid and back."""
    labels = np.rint(seg.values).astype(np.uint8)
    there = to_native(labels, seg.grid, native, matrix)
    back = to_native(there, native, seg.grid, np.linalg.inv(matrix).astype(np.float64))
    scores = []
    for region in ((1, 2, 3, 4), (1, 3, 4), (3, 4)):
        first, second = np.isin(labels, region), np.isin(back, region)
        if first.sum() * np.prod(seg.grid.spacing_mm) / 1000 > _LEAST_ML:
            scores.append(float(2 * (first & second).sum() / (first.sum() + second.sum())))
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="+", type=Path, help="folders of BraTS cases")
    parser.add_argument("--moves", type=int, default=10)
    parser.add_argument("--slices", type=float, default=1, help="mm; over 1: voxels of 2 x 2 x mm")
    args = parser.parse_args()
    means, largest, seconds, scores = [], [], [], list[float]()
    for move in range(args.moves):
        folder, channel = args.cases[move % len(args.cases)], _MOVED[move % len(_MOVED)]
        fixed, image, seg = (read(folder, each) for each in ("t1c", channel, "seg"))
        brain = fixed.grid.affine[:3] @ np.vstack(
            [np.argwhere(fixed.values > 0).T, np.ones(int((fixed.values > 0).sum()))]
        )
        true = random_move(np.random.default_rng(move), brain.mean(axis=1))
        native = image.grid if args.slices <= 1 else grid_of_slices(image.grid, args.slices)
        moving = Volume(resample(image, native, np.linalg.inv(true)), native)
        start = time.monotonic()
        found = register(moving, fixed).matrix
        seconds.append(time.monotonic() - start)
        apart = (found - true)[:3, :3] @ brain + (found - true)[:3, 3:]
        errors = np.linalg.norm(apart, axis=0)
        means.append(float(errors.mean()))
        largest.append(float(errors.max()))
        scores += (back := dice_back(seg, native, found))
        print(
            f"{folder.name} {channel}: mean {means[-1]:.2f} mm, most {largest[-1]:.2f} mm, "
            f"{seconds[-1]:.1f} s, Dice back {' '.join(f'{each:.3f}' for each in back)}",
            flush=True,
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{args.moves} moves: mean {np.mean(means):.2f} mm (worst case {max(means):.2f}), most "
        f"{max(largest):.2f} mm, {np.median(seconds):.1f} s, least Dice back "
        f"{min(scores, default=float('nan')):.3f}, peak memory {peak:.2f} GiB"
    )


if __name__ == "__main__":
    main()
