"""How well label maps survive the way to the grid of a prepared case and back.

    python benchmarks/label_maps.py PREPARED

PREPARED is what `volseg prepare` wrote from cases with label maps, such as with `--to mni`. Each
prepared label map returns to the grid of its source, as by `volseg infer --native`, and is compared
with the source, region by region. Smaller regions than 5 ml are shown, but do not count at the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from side_by_side import machine, print_table

from volseg.files.ownership import PREPARATION_FOLDER
from volseg.images.grid import Affine, Grid
from volseg.preparation.native import to_native
from volseg.preparation.record import PreparationRecord, read_record

# Labels of BraTS, ET being 3 or 4.
REGIONS = {"WT": (1, 2, 3, 4), "TC": (1, 3, 4), "ET": (3, 4)}
# Regions that are smaller do not count.
LEAST_ML = 5.0


@dataclass(frozen=True)
class Agreement:
    """A region of a label map, and of the same label map after its way there and back."""

    region: str
    dice: float
    ml: float
    ml_back: float


def agreements(
    drawn: npt.NDArray[np.integer], back: npt.NDArray[np.integer], grid: Grid
) -> Iterator[Agreement]:
    for name, labels in REGIONS.items():
        first, second = np.isin(drawn, labels), np.isin(back, labels)
        sizes = int(first.sum()), int(second.sum())
        if sizes[0]:
            dice = 2 * int((first & second).sum()) / sum(sizes)
            yield Agreement(name, dice, *(size * grid.voxel_ml for size in sizes))


def there_and_back(home: Path, record: PreparationRecord) -> list[Agreement]:
    source, written = record.label_source, record.label
    if source is None or written is None:
        raise SystemExit(f"{record.case_id} was prepared without a label map")
    image = nib.load(source.path)
    channels = record.channels.values()
    matrix = next(one.world_matrix for one in channels if _is_on(one.native.grid, image.affine))
    label_map = np.asanyarray(nib.load(home / written.path).dataobj)
    native = Grid(image.shape, image.affine)
    back = to_native(label_map, record.grid.grid, native, matrix)
    return list(agreements(np.rint(image.get_fdata()).astype(int), back, native))


def _is_on(grid: Grid, affine: Affine) -> bool:
    return bool(np.allclose(grid.affine, affine, atol=1e-3))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prepared", type=Path, help="folder that volseg prepare wrote")
    home = parser.parse_args().prepared
    paths = sorted((home / PREPARATION_FOLDER).glob("*.json"))
    found = {path.stem: there_and_back(home, read_record(path)) for path in paths}
    rows = [
        [case, one.region, f"{one.ml:.2f}", f"{one.ml_back - one.ml:+.2f}", f"{one.dice:.3f}"]
        for case, regions in found.items()
        for one in regions
    ]
    print(f"{machine('simpleitk', 'scipy')}\n")
    print_table(["case", "region", "ml", "ml more after the way back", "Dice"], rows)
    counted = [one for regions in found.values() for one in regions if one.ml > LEAST_ML]
    if counted:
        change = max(abs(one.ml_back / one.ml - 1) for one in counted)
        least = min(one.dice for one in counted)
        print(f"\n{len(counted)} regions over {LEAST_ML:g} ml: Dice at least {least:.3f},")
        print(f"volume changed by at most {change:.1%}")


if __name__ == "__main__":
    main()
