"""Voxel counts of training batches, kept where the batches are and read once an epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from volseg.metrics import Overlap


class VoxelCounts:
    """Overlap of predictions and references, summed over batches.

    Scores from these sums are those of all voxels pooled, as if the batches were one large image:
    not a mean over patches, and not one over patients, as validation has it.

    Args:
        regions: Names of the R regions.
        threshold: Smallest probability that counts, in (0, 1).
    """

    def __init__(self, regions: Sequence[str], threshold: float) -> None:
        self.regions = tuple(regions)
        # Of logits, so that no sigmoid is needed.
        self.least = math.log(threshold / (1 - threshold))
        self.sums: torch.Tensor | None = None

    def clear(self) -> None:
        """Begin anew."""
        self.sums = None

    @torch.no_grad()
    def add(self, logits: torch.Tensor, mask: torch.Tensor) -> None:
        """Count a batch.

        Args:
            logits: (B, R, I, J[, K]); regions are not nested here, as `decode` nests them.
            mask: Reference of the same shape, 0 or 1.
        """
        predicted, expected = logits >= self.least, mask > 0.5
        axes = [0, *range(2, logits.ndim)]
        counts = torch.stack(
            [torch.count_nonzero(x, axes) for x in (predicted & expected, predicted, expected)]
        )
        # Nothing waits for the GPU here: the numbers stay on it.
        self.sums = counts if self.sums is None else self.sums + counts

    def overlaps(self, sums: torch.Tensor) -> dict[str, Overlap]:
        """Overlap of each region.

        Args:
            sums: As `self.sums`, or the sum of those of all ranks; (3, R).
        """
        both, predicted, expected = sums.tolist()
        return {
            region: Overlap(int(tp), int(p) - int(tp), int(e) - int(tp))
            for region, tp, p, e in zip(self.regions, both, predicted, expected, strict=True)
        }
