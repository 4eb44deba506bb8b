"""Sums over the training batches of an epoch, kept where the batches are and read at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from volseg.metrics import Score
from volseg.region_metrics import RegionCounts, scores_of


class EpochSums:
    """Loss and overlap of predictions and references, summed over the batches of an epoch.

    Scores from these sums are those of all voxels pooled, as if the batches were one large image:
    not a mean over patches, and not one over patients, as validation has it. What is compared is
    what is trained: augmented patches, half of them or so centred on tumour, each segmented by the
    weights of its step.

    Args:
        regions: Names of the R regions.
        threshold: Smallest probability that counts, in (0, 1).
    """

    def __init__(self, regions: Sequence[str], threshold: float) -> None:
        self.counts = RegionCounts(regions, threshold)
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
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
        # Nothing waits for the GPU here: the numbers stay on it.
        self.counts.to(mask.device).update(logits, mask)
        dtype = _exact(mask.device)
        patches = torch.full_like(loss, len(mask), dtype=dtype)
        added = torch.stack([loss.to(dtype) * patches, patches])
        self.losses = self.losses.to(mask.device, dtype) + added

    def of_all_ranks(self, strategy: Any) -> EpochSums:
        """The sums over all ranks, each of which calls this.

        Args:
            strategy: Of the Lightning trainer.
        """
        total = EpochSums(self.counts.regions, 0.5)
        # Copies, since the sum takes the place of what is summed.
        device = strategy.root_device
        voxels = self.counts.voxels.to(device, copy=True)
        # A rank may not have seen a batch yet, and all must send one type.
        losses = self.losses.to(device, _exact(device), copy=True)
        total.counts.voxels = strategy.reduce(voxels, reduce_op="sum")
        total.losses = strategy.reduce(losses, reduce_op="sum")
        return total

    @property
    def loss(self) -> torch.Tensor:
        """Mean over the patches."""
        return self.losses[0] / self.losses[1]

    def scores(self, score: Score) -> dict[str, float]:
        """A score of each region, of all voxels pooled."""
        return scores_of(self.counts.overlaps(), score)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The sums, on the CPU."""
        return {"voxels": self.counts.voxels.cpu(), "losses": self.losses.cpu()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from what `state_dict` gave."""
        self.counts.voxels, self.losses = state["voxels"], state["losses"]


def _exact(device: torch.device) -> torch.dtype:
    """float64: in it the sum of some float32 numbers is exact, in any order; mps has none.

    So it is the same whether a run was stopped and its ranks were added up in between.
    """
    return torch.float32 if device.type == "mps" else torch.float64
