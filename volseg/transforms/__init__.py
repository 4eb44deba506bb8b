"""From the scan to the network's grid and back, and random changes of training patches."""

from volseg.transforms.augmentation import augmentation
from volseg.transforms.preprocessing import Preprocessed, preprocess, preprocess_masks
from volseg.transforms.resampling import covered, to_original

__all__ = [
    "Preprocessed",
    "augmentation",
    "covered",
    "preprocess",
    "preprocess_masks",
    "to_original",
]
