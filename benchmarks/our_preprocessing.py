"""From four files to a normalised, cropped array, as volseg does it: a side of `preprocessing.py`.

python our_preprocessing.py SPACING FILE FILE FILE FILE
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from worker import serve

from volseg.config import CHANNELS, PreprocessingConfig
from volseg.images.nifti_reading import read_case
from volseg.transforms import preprocess

OPTIONS = PreprocessingConfig(spacing_mm=(float(sys.argv[1]),) * 3)
FILES = [Path(name) for name in sys.argv[2:]]


def work() -> Any:
    images = read_case(FILES, CHANNELS, CHANNELS)
    # float32, as MONAI gives it: training and inference round it to float16.
    return preprocess(images, OPTIONS, dtype=np.float32).image


if __name__ == "__main__":
    serve(work)
