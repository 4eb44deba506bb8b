"""Places and weights of the windows of an image, as `segment` has them, for work on each window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from torch.nn import functional as F

from volseg.config import ExperimentConfig


@dataclass(frozen=True, eq=False)
class WindowLayout:
    """Windows of an image (*), as MONAI's `sliding_window_inference` lays them.

    Attributes:
        padding: Zeros before and after the image along each axis.
        boxes: Place of each window in the padded image.
        importance: Weight (*window) of the voxels of a window where windows overlap.
        total: Sum of these weights over all windows (*padded image).
    """

    padding: tuple[tuple[int, int], ...]
    boxes: tuple[tuple[slice, ...], ...]
    importance: torch.Tensor
    total: torch.Tensor

    @classmethod
    def of(cls, shape: Sequence[int], config: ExperimentConfig) -> WindowLayout:
        """The windows for an image of this shape, (I, J, K) or, of a 2D network, (I, J)."""
        window, overlap = config.window_size, config.inference.overlap
        missing = [max(0, size - length) for size, length in zip(window, shape, strict=True)]
        padded = [length + more for length, more in zip(shape, missing, strict=True)]
        steps = [
            size if size == length else max(1, int(size * (1 - overlap)))
            for size, length in zip(window, padded, strict=True)
        ]
        boxes = tuple(dense_patch_slices(padded, window, steps))
        importance = compute_importance_map(
            window, mode=config.inference.blending, sigma_scale=0.125, dtype=torch.float32
        )
        assert isinstance(importance, torch.Tensor)
        total = torch.zeros(padded)
        for box in boxes:
            total[box] += importance
        return cls(
            tuple((more // 2, more - more // 2) for more in missing), boxes, importance, total
        )

    def share(self, box: tuple[slice, ...]) -> torch.Tensor:
        """Weight (*window) of a window in the mean over windows; over all windows, the sum is 1."""
        return self.importance / self.total[box]

    def padded(self, image: torch.Tensor) -> torch.Tensor:
        """Images (..., *) with the padding."""
        return F.pad(image, [more for axis in reversed(self.padding) for more in axis])

    def cropped(self, image: torch.Tensor) -> torch.Tensor:
        """Images (..., *padded image) without the padding."""
        inner = tuple(
            slice(before, length - after)
            for (before, after), length in zip(self.padding, self.total.shape, strict=True)
        )
        return image[(slice(None),) * (image.ndim - len(inner)) + inner]
