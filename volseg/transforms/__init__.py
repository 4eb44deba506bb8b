"""Preprocessing of scans to the network's grid, the way back, and augmentation.

`augmentation` is not imported here: it needs MONAI, whose import takes longer than preparing
several cases.
"""

from volseg.transforms.preprocessing import Preprocessed, preprocess, preprocess_masks
from volseg.transforms.resampling import covered, to_original

__all__ = [
    "Preprocessed",
    "covered",
    "preprocess",
    "preprocess_masks",
    "to_original",
]
