"""Training with Lightning: decoded cases, patches, the module, the trainer."""

from volseg.training.cache import CachedCase, build_cache, read_cached
from volseg.training.datamodule import VolumeDataModule
from volseg.training.module import SegmentationModule
from volseg.training.trainer import build_trainer

__all__ = [
    "CachedCase",
    "SegmentationModule",
    "VolumeDataModule",
    "build_cache",
    "build_trainer",
    "read_cached",
]
