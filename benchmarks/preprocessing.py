"""Reading and preprocessing a case: volseg beside MONAI's transforms, in turn, same result.

    python benchmarks/preprocessing.py [CASE_FOLDER]      default: a phantom of 240 x 240 x 155

Prints the seconds of each and their ratio, the median of five pairs.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from monai.transforms import (
    Compose,
    CropForegroundd,
    EnsureChannelFirstd,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
)

from volseg.config import CHANNELS
from volseg.datalist import Case, find_cases
from volseg.nifti import read_case
from volseg.phantoms import make_cohort
from volseg.transforms import preprocess

PAIRS = 5


def ours(case: Case) -> np.ndarray:
    images = read_case(case.case_id, case.images, case.channels, CHANNELS)
    return preprocess(images, (1.0, 1.0, 1.0)).image


def monai(case: Case) -> np.ndarray:
    files = dict(zip(case.channels, case.images, strict=True))
    steps = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
            CropForegroundd(
                "image", "image", select_fn=lambda x: x != 0, margin=1, allow_smaller=True
            ),
            NormalizeIntensityd("image", nonzero=True, channel_wise=True),
        ]
    )
    return np.asarray(steps({"image": [files[channel] for channel in CHANNELS]})["image"])


def seconds(function, case: Case) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    result = function(case)
    return time.perf_counter() - start, result


def main(folder: Path) -> None:
    case = find_cases([folder]).cases[0]
    seconds(ours, case), seconds(monai, case)
    pairs = [(seconds(ours, case), seconds(monai, case)) for _ in range(PAIRS)]
    first, second = pairs[0][0][1], pairs[0][1][1]
    print(
        f"largest difference of a voxel: {abs(first - second).max():.4f} (float16 against float32)"
    )
    print(f"volseg: {statistics.median(a[0] for a, _ in pairs):.2f} s")
    print(f"MONAI:  {statistics.median(b[0] for _, b in pairs):.2f} s")
    print(f"ratio MONAI / volseg: {statistics.median(b[0] / a[0] for a, b in pairs):.1f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(make_cohort(Path(scratch), 1, (240, 240, 155), 1.0)[0])
