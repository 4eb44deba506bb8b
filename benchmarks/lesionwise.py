"""Lesion-wise scores of a case: volseg, and an official BraTS program beside it where there is one.

    python benchmarks/lesionwise.py [CASE_FOLDERS] [--protocol NAME] [--official FILE] [--small]

The scans are cases with a label map of BraTS up to 2023; without them, a phantom of
240 x 240 x 155 voxels. Two predictions are made of each label map, always the same: the good one of
`metrics.py`, and `noise`, which puts 300 cubes of up to 5 voxels into both label maps. Both sides
start from two NIfTI files.

`--official` is a file of a checkout of rachitsaluja/BraTS-2023-Metrics or BraTS-2024-Metrics, such
as `metrics_GLI.py`. It runs in an environment of its own, which the first command makes in
`benchmarks/.official`; the lesion-wise Dice of both sides must agree. Some checkouts need a repair
before they run. One case takes them up to ten minutes, so the default is one round.

Prints a row for each case and prediction: seconds of all cores and most memory of the process, in
brackets what the work added to it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import nibabel as nib
import numpy as np
from metrics import good, references
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

TOLERANCE = 1e-6  # share of 1; tables of the programs are not rounded
PACKAGES = (
    "numpy==1.26.4",
    "scipy==1.11.4",
    "pandas==1.5.3",
    "connected-components-3d==3.12.1",
    "nibabel==5.4.2",
    "medpy==0.5.2",
    "surface-distance==0.1",
)


def main() -> None:
    parser = options(__doc__)
    parser.set_defaults(rounds=1)
    parser.add_argument("--protocol", default="brats2023-gli", help="rule of both sides")
    parser.add_argument("--official", type=Path, help="file of a checkout of an official program")
    wanted = parser.parse_args()
    print(machine("scipy", "numpy", "connected-components-3d"), end="\n\n")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, label_map in references(wanted.scans, wanted.small):
            # Protocols have ET as 3.
            reference = np.where(label_map == 4, 3, label_map).astype(np.uint8)
            for quality, pair in predictions(reference, 30 if wanted.small else 300):
                row = compared(Path(folder), pair, wanted)
                rows.append([name, quality, *row])
    head = ("case", "prediction", "volseg core s", "volseg MB")
    print_table((*head, "official core s", "official MB", "ratio", "largest difference"), rows)


def predictions(reference: np.ndarray, cubes: int):
    """Name of the prediction, and both label maps."""
    yield "good", {"prediction": good(reference), "reference": reference}
    rng = np.random.default_rng(1)
    noisy = {"prediction": good(reference), "reference": reference.copy()}
    for label_map in noisy.values():
        for _ in range(cubes):
            corner = [int(rng.integers(0, size - 5)) for size in label_map.shape]
            sides = rng.integers(1, 6, 3)
            box = tuple(slice(at, at + side) for at, side in zip(corner, sides, strict=True))
            label_map[box] = rng.integers(1, 4)
    yield f"noise of {cubes}", noisy


def compared(folder: Path, pair: dict[str, np.ndarray], wanted) -> list[str]:
    """Row of one prediction."""
    paths = [str(folder / f"{name}-00001.nii.gz") for name in pair]
    for path, label_map in zip(paths, pair.values(), strict=True):
        nib.save(nib.Nifti1Image(label_map, np.eye(4)), path)
    commands = {
        "volseg": [sys.executable, str(HERE / "our_lesionwise.py"), *paths, wanted.protocol]
    }
    if wanted.official:
        script = str(HERE / "peer_lesionwise.py")
        task = f"BraTS-{wanted.protocol.partition('-')[2].upper()}"
        official = str(wanted.official.absolute())
        commands["official"] = [official_python(), script, *paths, task, official]
    sides = {name: Side(words, folder / f"{name}.log") for name, words in commands.items()}
    saved = [folder / f"{name}.npz" for name in sides]
    difference = "-"
    if wanted.official:
        for side, path in zip(sides.values(), saved, strict=True):
            side(path)
        found = largest_difference(*saved)
        if found > TOLERANCE:
            raise SystemExit(f"the lesion-wise Dice of the sides differs by {found}")
        difference = f"{found:.0e}"
    costs = in_turn(sides, wanted.rounds)
    for side in sides.values():
        side.close()
    cells = [
        cell
        for of_side in costs.values()
        for cell in (
            f"{median(of_side, 'cpu_s'):.2f}",
            f"{median(of_side, 'peak_mb'):.0f} ({median(of_side, 'grown_mb'):.0f})",
        )
    ]
    if not wanted.official:
        return [*cells, "-", "-", "-", "-"]
    return [*cells, ratios(costs["volseg"], costs["official"], "cpu_s"), difference]


def official_python() -> str:
    """Interpreter of the environment of the official programs; made at the first call."""
    folder = HERE / ".official"
    interpreter = folder / "bin" / "python"
    if not (folder / "whole").exists():
        venv.create(folder, clear=True, with_pip=True)
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", *PACKAGES]
        subprocess.run(pip, check=True, stdout=sys.stderr)
        (folder / "whole").touch()
    return str(interpreter)


if __name__ == "__main__":
    main()
