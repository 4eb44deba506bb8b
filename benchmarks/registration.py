"""How exactly channels that were moved at random come back, on real cases.

    python benchmarks/registration.py CASES... [--moves N] [--slices MM] [--small]

Each of t1n, t2w and t2f is moved N times by up to 15 mm and 10 degrees, the cases in turn, and
registered to t1c. The error is the distance between where the true and the found matrix place the
voxels of the brain. A refused registration is shown and counted, and the next move follows. The
label map is drawn on the grid of the moved channel, brought to that of t1c, and back as by
`volseg infer --native`.

Memory is the peak of this process, which also holds the unmoved images.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from label_maps import LEAST_ML, Agreement, agreements
from scipy.spatial.transform import Rotation
from side_by_side import machine, print_table

from volseg.cases.case import Case
from volseg.errors import RegistrationError
from volseg.finding.folders import find_cases
from volseg.images.grid import Affine, Grid
from volseg.phantoms.cohort import make_cohort
from volseg.preparation.native import to_native
from volseg.preparation.registration import Registration, register
from volseg.preparation.resampling import resample
from volseg.preparation.volume import Volume

CHANNELS = ("t1n", "t2w", "t2f")
MOST_MM, MOST_DEGREES = 15.0, 10.0


@dataclass(frozen=True, eq=False)
class Trial:
    """A channel that was moved and registered.

    Attributes:
        case: The case.
        channel: The channel.
        native: Grid of the moved channel.
        true: (4, 4) from the world of t1c to that of the moved channel.
        found: What registration found; None: it was refused.
        errors_mm: Mean and largest error over the brain.
        seconds: Time of a core for the registration.
    """

    case: Case
    channel: str
    native: Grid
    true: Affine
    found: Registration | None
    errors_mm: tuple[float, float]
    seconds: float


def trial(case: Case, channel: str, seed: int, slices_mm: float) -> Trial:
    fixed, image = volume_of(case, "t1c"), volume_of(case, channel)
    indices = np.argwhere(fixed.values > 0)
    brain = fixed.grid.affine @ np.vstack([indices.T, np.ones(len(indices))])
    true = random_move(np.random.default_rng(seed), brain[:3].mean(axis=1))
    native = grid_of_slices(image.grid, slices_mm) if slices_mm > 1 else image.grid
    moving = Volume(resample(image, native, np.linalg.inv(true)), native)
    start = time.process_time()
    try:
        found = register(moving, fixed)
    except RegistrationError as error:
        print(f"{case.case_id} {channel} refused: {error}", flush=True)
        return Trial(case, channel, native, true, None, (np.nan,) * 2, time.process_time() - start)
    seconds = time.process_time() - start
    errors = np.linalg.norm(((found.matrix - true) @ brain)[:3], axis=0)
    apart = float(errors.mean()), float(errors.max())
    print(
        f"{case.case_id} {channel}: {apart[0]:.2f} mm, at most {apart[1]:.2f} mm, "
        f"peak {found.quality.peak:.3f}, {seconds:.0f} s",
        flush=True,
    )
    return Trial(case, channel, native, true, found, apart, seconds)


def volume_of(case: Case, channel: str) -> Volume:
    images = case.read_images([channel])
    return Volume(images.array[0], images.grid)


def random_move(rng: np.random.Generator, centre: npt.NDArray[np.float64]) -> Affine:
    """Matrix (4, 4) of a turn of up to 10 degrees about a centre and a shift of up to 15 mm."""
    axis, way = (each / np.linalg.norm(each) for each in rng.standard_normal((2, 3)))
    turn = Rotation.from_rotvec(rng.uniform(0, MOST_DEGREES) * axis, degrees=True)
    matrix = np.eye(4)
    matrix[:3, :3] = turn.as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + rng.uniform(0, MOST_MM) * way
    return matrix


def grid_of_slices(grid: Grid, mm: float) -> Grid:
    """The same extent in voxels of 2 x 2 x `mm`."""
    size = np.array((2, 2, mm)) / grid.spacing_mm
    step = np.diag([*size, 1.0])
    step[:3, 3] = (size - 1) / 2
    i, j, k = (int(n) for n in np.ceil(np.array(grid.shape) / size))
    return Grid((i, j, k), grid.affine @ step)


def label_map_back(one: Trial, matrix: Affine) -> Iterator[Agreement]:
    """A label map drawn on the moved channel, after its way to the grid of t1c and back."""
    values, grid = one.case.read_reference()
    first = resample(Volume(values, grid), one.native, np.linalg.inv(one.true), "label")
    there = resample(Volume(first, one.native), grid, matrix, "label")
    yield from agreements(first, to_native(there, grid, one.native, matrix), one.native)


def row(name: str, done: Sequence[Trial]) -> list[str]:
    accepted = [(one, one.found) for one in done if one.found is not None]
    if not accepted:
        return [name, str(len(done)), str(len(done)), *["-"] * 7]
    means, largest = np.array([one.errors_mm for one, _ in accepted]).T
    qualities = [found.quality for _, found in accepted]
    before, after = (
        np.mean([getattr(quality, when) for quality in qualities]) for when in ("before", "after")
    )
    peaks = [quality.peak for quality in qualities]
    return [
        name,
        str(len(done)),
        str(len(done) - len(accepted)),
        f"{means.mean():.2f}",
        f"{means.max():.2f}",
        f"{largest.max():.2f}",
        f"{before:.3f} to {after:.3f}",
        f"{min(peaks):.2f} to {max(peaks):.2f}",
        f"{np.median([one.seconds for one in done]):.0f}",
        f"{max(one.seconds for one in done):.0f}",
    ]


HEAD = (
    *("channel", "moves", "refused", "mean error, mm", "mean of the worst", "largest error, mm"),
    *("mutual information", "peak", "core s", "longest, core s"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", type=Path, help="folders of cases with label maps")
    parser.add_argument("--moves", type=int, default=10, help="of each channel")
    parser.add_argument(
        "--slices", type=float, default=1, metavar="MM", help="over 1: voxels of 2 x 2 x MM"
    )
    parser.add_argument("--small", action="store_true", help="one phantom of 3 mm")
    given = parser.parse_args()
    if not (given.cases or given.small):
        parser.error("give folders of cases, or --small")
    done, back = list[Trial](), list[Agreement]()
    with tempfile.TemporaryDirectory() as scratch:
        folders = given.cases or make_cohort(Path(scratch), 1, (80, 80, 52), 3.0)
        cases = [case for folder in folders for case in find_cases(folder).cases]
        for number in range(given.moves * len(CHANNELS)):
            case = cases[number // len(CHANNELS) % len(cases)]
            done.append(trial(case, CHANNELS[number % len(CHANNELS)], number, given.slices))
            if (found := done[-1].found) is not None:
                back += label_map_back(done[-1], found.matrix)
    print(f"\n{len(cases)} cases; {machine('simpleitk', 'scipy')}\n")
    rows = [row(name, [one for one in done if one.channel == name]) for name in CHANNELS]
    print_table(HEAD, [*rows, row("all", done)])
    counted = [one for one in back if one.ml > LEAST_ML]
    if counted:
        least, change = (
            min(o.dice for o in counted),
            max(abs(o.ml_back / o.ml - 1) for o in counted),
        )
        print(f"\n{len(counted)} regions over {LEAST_ML:g} ml there and back:")
        print(f"Dice at least {least:.3f}, volume changed by at most {change:.1%}")
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory {peak_kb * 1024 / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
