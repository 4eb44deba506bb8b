"""Sums over the training batches of an epoch, kept where the batches are and read at its end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from volseg.metrics import Overlap


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
        self.regions = tuple(regions)
        # Of logits, so that no sigmoid is needed.
        self.least = math.log(threshold / (1 - threshold))
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        # Voxels of both, of the prediction and of the reference for each region.
        self.voxels = torch.zeros(3, len(self.regions), dtype=torch.int64)
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
        predicted, expected = logits >= self.least, mask > 0.5
        axes = [0, *range(2, logits.ndim)]
        counts = [torch.count_nonzero(x, axes) for x in (predicted & expected, predicted, expected)]
        # Nothing waits for the GPU here: the numbers stay on it.
        self.voxels = self.voxels.to(mask.device) + torch.stack(counts)
        dtype = _exact(mask.device)
        patches = torch.full_like(loss, len(mask), dtype=dtype)
        added = torch.stack([loss.to(dtype) * patches, patches])
        self.losses = self.losses.to(mask.device, dtype) + added

    def of_all_ranks(self, strategy: Any) -> EpochSums:
        """The sums over all ranks, each of which calls this.

        Args:
            strategy: Of the Lightning trainer.
        """
        total = EpochSums(self.regions, 0.5)
        # Copies, since the sum takes the place of what is summed.
        device = strategy.root_device
        voxels = self.voxels.to(device, copy=True)
        # A rank may not have seen a batch yet, and all must send one type.
        losses = self.losses.to(device, _exact(device), copy=True)
        total.voxels = strategy.reduce(voxels, reduce_op="sum")
        total.losses = strategy.reduce(losses, reduce_op="sum")
        return total

    @property
    def loss(self) -> torch.Tensor:
        """Mean over the patches."""
        return self.losses[0] / self.losses[1]

    def overlaps(self) -> dict[str, Overlap]:
        """Overlap of each region."""
        both, predicted, expected = self.voxels.tolist()
        return {
            region: Overlap(int(tp), int(p) - int(tp), int(e) - int(tp))
            for region, tp, p, e in zip(self.regions, both, predicted, expected, strict=True)
        }

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The sums, on the CPU."""
        return {"voxels": self.voxels.cpu(), "losses": self.losses.cpu()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from what `state_dict` gave."""
        self.voxels, self.losses = state["voxels"], state["losses"]


def _exact(device: torch.device) -> torch.dtype:
    """float64: in it the sum of some float32 numbers is exact, in any order; mps has none.

    So it is the same whether a run was stopped and its ranks were added up in between.
    """
    return torch.float32 if device.type == "mps" else torch.float64
