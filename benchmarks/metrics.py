"""Dice, IoU and HD95 of the regions of a case: volseg beside MONAI's metrics, same values.

    python benchmarks/metrics.py [CASE_FOLDERS] [--rounds N] [--small]

The scans are cases with a label map of BraTS up to 2023; without them, a phantom of
240 x 240 x 155 voxels. Two predictions are made of each label map, always the same. One is as good
as a model's: its outlines are bent by about 2 mm, some pieces are lost, and three balls stand where
there is no tumour. The other is bad: all of it lies 12 mm away. Both sides start from the two label
maps in memory, as arrays of bytes, and end with three numbers for each region, which differ by at
most `TOLERANCE`: MONAI's are of 32 bits. A region that one of the maps lacks is left out, since
MONAI has no number for it.

Prints a row for each case and prediction: seconds, their ratio pair by pair, and most memory of
the process, in brackets what the work added to it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import peers
from scipy.ndimage import gaussian_filter, map_coordinates
from side_by_side import (
    HERE,
    Side,
    in_turn,
    largest_difference,
    machine,
    median,
    options,
    print_table,
    ratios,
)

from volseg.finding.folders import find_cases
from volseg.labels import LabelScheme, get_scheme
from volseg.phantoms.head import make_phantom

TOLERANCE = 1e-4  # mm, or share of 1
SHAPE, SMALL_SHAPE = (240, 240, 155), (72, 72, 48)
SHIFT_VOXELS = 1.5


def main() -> None:
    wanted = options(__doc__).parse_args()
    rounds = min(wanted.rounds, 2) if wanted.small else wanted.rounds
    print(machine("monai", "scipy", "numpy"), end="\n\n")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, reference in references(wanted.scans, wanted.small):
            for quality, make in (("good", good), ("bad", bad)):
                maps = {"prediction": make(reference), "reference": reference}
                row = compared(Path(folder), maps, rounds, wanted.small)
                rows.append([name, quality, *row])
    head = ("case", "prediction", "HD95 mm", "MONAI s", "volseg s", "ratio")
    print_table((*head, "MONAI MB", "volseg MB", "largest difference"), rows)


def references(scans: list[Path], small: bool):
    """Name and label map of each case."""
    if not scans:
        shape = SMALL_SHAPE if small else SHAPE
        yield "phantom", make_phantom(np.random.default_rng([0, 1]), shape).label_map
        return
    for case in find_cases(scans).cases:
        if case.label:
            yield case.case_id, np.ascontiguousarray(case.read_reference()[0])


def compared(folder: Path, maps: dict[str, np.ndarray], rounds: int, small: bool) -> list[str]:
    """Row of one prediction."""
    paths = [str(folder / f"{name}.npy") for name in maps]
    for path, label_map in zip(paths, maps.values(), strict=True):
        np.save(path, label_map)
    scheme = get_scheme("brats2021" if (maps["reference"] == 4).any() else "brats2023")
    regions = in_both(scheme, maps)
    python = sys.executable if small else peers.python()
    commands = {
        "MONAI": [python, "peer_metrics.py", *paths, json.dumps(regions)],
        "volseg": [sys.executable, "our_metrics.py", *paths, scheme.name, *regions],
    }
    sides = {
        name: Side([python, str(HERE / script), *words], folder / f"{name}.log")
        for name, (python, script, *words) in commands.items()
    }
    saved = [folder / f"{name}.npz" for name in sides]
    for side, path in zip(sides.values(), saved, strict=True):
        side(path)
    difference = largest_difference(*saved)
    if difference > TOLERANCE:
        raise SystemExit(f"the sides differ by {difference}")
    costs = in_turn(sides, rounds)
    for side in sides.values():
        side.close()
    with np.load(saved[0]) as values:
        hd95 = [f"{region} {mm:.1f}" for region, mm in zip(regions, values["hd95"], strict=True)]
    return [
        ", ".join(hd95),
        *(f"{median(of_side, 'wall_s'):.3f}" for of_side in costs.values()),
        ratios(costs["volseg"], costs["MONAI"], "wall_s"),
        *(
            f"{median(of_side, 'peak_mb'):.0f} ({median(of_side, 'grown_mb'):.0f})"
            for of_side in costs.values()
        ),
        f"{difference:.0e}",
    ]


def in_both(scheme: LabelScheme, maps: dict[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Labels of the regions that neither map lacks."""
    return {
        region: values
        for region, values in scheme.regions.items()
        if all(np.isin(label_map, values).any() for label_map in maps.values())
    }


def bad(reference: np.ndarray) -> np.ndarray:
    """All of it, 12 voxels away."""
    return np.roll(reference, 12, axis=0)


def good(reference: np.ndarray) -> np.ndarray:
    """What a model might have made of a case."""
    rng = np.random.default_rng(0)
    shape = reference.shape

    def smooth(sigma: float) -> np.ndarray:
        noise = gaussian_filter(rng.standard_normal(shape, np.float32), sigma, mode="wrap")
        return noise / noise.std()

    bent = [
        at + SHIFT_VOXELS * smooth(4)
        for at in np.meshgrid(*map(np.arange, shape), indexing="ij", sparse=True)
    ]
    prediction = map_coordinates(reference, bent, order=0)
    prediction[smooth(3) > 2.5] = 0
    places = np.argwhere(reference == 0)
    middle = places[(abs(places - np.divide(shape, 2)) < np.divide(shape, 4)).all(axis=1)]
    for label, radius in zip(np.unique(reference[reference > 0]), (2, 4, 2), strict=False):
        offsets = np.indices((2 * radius + 1,) * 3).reshape(3, -1).T - radius
        ball = offsets[(offsets**2).sum(axis=1) <= radius**2]
        prediction[tuple((rng.choice(middle) + ball).T)] = label
    return prediction


if __name__ == "__main__":
    main()
