"""Sums over the training batches of an epoch, kept on the device and read at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from volseg.metrics import Score
from volseg.region_metrics import RegionCounts, scores_of


class EpochSums:
    """Loss and overlap of predictions and references, summed over the batches of an epoch.

    Scores of these sums pool all voxels, as if the batches were one large image: they are neither
    a mean over patches nor, as in validation, a mean over patients. They are scores of augmented
    patches, about half of them centred on tumour, each segmented by the weights of its step.

    Args:
        regions: Names of the R regions.
        threshold: Smallest probability that counts as inside a region, in (0, 1); a number, or
            one for each region.
    """

    def __init__(self, regions: Sequence[str], threshold: float | Sequence[float]) -> None:
        self.counts = RegionCounts(regions, threshold)
        self.clear()

    def clear(self) -> None:
        """Set all sums to 0."""
        self.counts.reset()
        # Sum of the losses, and number of patches.
        self.losses = torch.zeros(2)

    @torch.no_grad()
    def add(self, logits: torch.Tensor, mask: torch.Tensor, loss: torch.Tensor) -> None:
        """Count a batch.

        Args:
            logits: (B, R, I, J[, K]); regions are not nested here, as `decode` nests them.
            mask: Reference of the same shape, 0 or 1.
            loss: Mean over the batch.
        """
        # The numbers stay on the GPU, so that the processor does not wait for it.
        self.counts.to(mask.device).update(logits, mask)
        dtype = _exact(mask.device)
        patches = torch.full_like(loss, len(mask), dtype=dtype)
        added = torch.stack([loss.to(dtype) * patches, patches])
        self.losses = self.losses.to(mask.device, dtype) + added

    def of_all_ranks(self, strategy: Any) -> EpochSums:
        """The sums over all ranks; every rank must call this.

        Args:
            strategy: Strategy of the Lightning trainer.
        """
        total = EpochSums(self.counts.regions, 0.5)
        # Copies, since `reduce` overwrites its argument.
        device = strategy.root_device
        voxels = self.counts.voxels.to(device, copy=True)
        # A rank may not have seen a batch yet, and all ranks must send the same type.
        losses = self.losses.to(device, _exact(device), copy=True)
        total.counts.voxels = strategy.reduce(voxels, reduce_op="sum")
        total.losses = strategy.reduce(losses, reduce_op="sum")
        return total

    @property
    def loss(self) -> torch.Tensor:
        """Mean loss of the patches."""
        return self.losses[0] / self.losses[1]

    def scores(self, score: Score) -> dict[str, float]:
        """A score by region, over all voxels pooled."""
        return scores_of(self.counts.overlaps(), score)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The sums, on the CPU."""
        return {"voxels": self.counts.voxels.cpu(), "losses": self.losses.cpu()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Continue from the sums that `state_dict` returned."""
        self.counts.voxels, self.losses = state["voxels"], state["losses"]


def _exact(device: torch.device) -> torch.dtype:
    """float64, or float32 on mps, which has no float64.

    In float64 the sum of float32 losses is exact in any order, so a run that was stopped and
    resumed has the same sum.
    """
    return torch.float32 if device.type == "mps" else torch.float64
