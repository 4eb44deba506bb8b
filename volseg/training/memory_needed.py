"""Check of the memory that a training needs at least, before any of it is allocated."""

from __future__ import annotations

import math

from volseg import memory
from volseg.config import ExperimentConfig
from volseg.training.hardware import on_cuda

#: Remedy when memory is short.
REMEDY = "lower data.batch_size, data.patch_size or data.workers, or use a machine with more memory"


def check_memory(config: ExperimentConfig) -> None:
    """Refuse batches and windows that do not fit into the memory of this machine.

    Only inputs and outputs are counted; the activations depend on the network.

    Raises:
        ResourceError: If they need more memory than the machine has.
    """
    data = config.data
    channels, regions = len(data.channels), len(config.labels.regions)
    on_gpu = on_cuda(config.training)
    # Bytes per voxel: for a GPU, 16-bit images and one byte for all masks; else images, masks and
    # logits in float32.
    each = 2 * channels + 1 if on_gpu else 4 * (channels + 2 * regions)
    what = f"a batch of {data.batch_size} patches of {_in_words(data.patch_size)} voxels"
    memory.require(data.batch_size * math.prod(data.patch_size) * each, what, REMEDY)
    if data.fold is not None and not on_gpu:
        memory.require(
            math.prod(config.window_size) * 4 * (channels + regions),
            f"a window of {_in_words(config.window_size)} voxels",
            "lower inference.window_size",
        )


def _in_words(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
