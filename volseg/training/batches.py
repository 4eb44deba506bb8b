"""Batches of patches: as the network takes them on a CPU, packed to a third of the bytes for a GPU.

A packed batch holds the images in 16 bits and all masks together in one byte per voxel. The GPU
converts both to float32. Masks are unchanged; images are rounded to 16 bits, as mixed precision or
the cache would round them anyway.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate, get_worker_info

from volseg.transforms.axes import empty

Batch = dict[str, torch.Tensor]


def sample_of(image: torch.Tensor, bits: torch.Tensor, regions: int, *, packed: bool) -> Batch:
    """A sample of a batch.

    Args:
        image: float32 (C, *).
        bits: uint8 (*); bit r is set where the voxel lies in region r.
        regions: Number R of the regions.
        packed: Whether the sample goes to a GPU.

    Returns:
        `{"image": (C, *), "mask": (R, *)}` in float32; packed, `{"image", "bits": (*)}` in 16 and
        8 bits.
    """
    if packed:
        return {"image": image.half(), "bits": bits}
    masks = empty((regions, *bits.shape))
    for region, mask in enumerate(masks):
        np.not_equal(bits.numpy() & (1 << region), 0, out=mask.numpy(), casting="unsafe")
    return {"image": image, "mask": masks}


def collate(samples: list[Batch]) -> Batch:
    """Batch of samples, stacked along a new first axis."""
    if get_worker_info() is not None:
        # A worker collates into memory that processes share.
        batch: Batch = default_collate(samples)
        return batch
    return {
        name: torch.stack(
            [sample[name] for sample in samples],
            out=empty((len(samples), *value.shape), value.numpy().dtype),
        )
        for name, value in samples[0].items()
    }


def unpacked(batch: Batch, regions: int) -> Batch:
    """`{"image": (B, C, *), "mask": (B, R, *)}` in float32 of a batch, on the same device."""
    if "bits" not in batch:
        return batch
    return {"image": batch["image"].float(), "mask": unpacked_masks(batch["bits"], regions, axis=1)}


def unpacked_masks(bits: torch.Tensor, regions: int, axis: int = 0) -> torch.Tensor:
    """float32 masks of packed bits: the mask of region r is 1 where bit r is set.

    Args:
        bits: uint8.
        regions: Number R of the regions.
        axis: Position of the axis of length R in the result.
    """
    masks = [bits.bitwise_and(1 << region).ne(0).float() for region in range(regions)]
    return torch.stack(masks, dim=axis)


def on_gpu(trainer: Any) -> bool:
    """Whether the batches of a Lightning trainer go to a CUDA GPU; False without a trainer."""
    return trainer is not None and trainer.strategy.root_device.type == "cuda"
