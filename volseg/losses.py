"""Losses on the logits of regions: Dice, cross entropy, focal, and their sum over coarser heads.

Regions overlap (ET lies in TC, TC in WT), so each has a sigmoid of its own; there is no softmax.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses import DiceLoss, FocalLoss
from torch import nn
from torch.nn import functional as F

from volseg.config import LossConfig

#: Voxels added to numerator and denominator of soft Dice. With one voxel, a region that is absent
#: from a patch costs almost nothing once the predicted probabilities sum to less than one voxel;
#: with a much smaller value, as is common, the loss would demand ever smaller probabilities.
DICE_SMOOTHING = 1.0


class RegionLoss(nn.Module):
    """Weighted sum of soft Dice, binary cross entropy and focal loss, each a mean over regions.

    Computed in float32, since sums over a patch exceed the range of float16.

    Args:
        config: Weights of the terms and their options.
    """

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        terms: dict[str, tuple[float, nn.Module]] = {
            "dice": (
                config.dice,
                DiceLoss(
                    sigmoid=True,
                    batch=config.batch_dice,
                    smooth_nr=DICE_SMOOTHING,
                    smooth_dr=DICE_SMOOTHING,
                ),
            ),
            "bce": (config.bce, nn.BCEWithLogitsLoss()),
            "focal": (config.focal, FocalLoss(gamma=config.focal_gamma)),
        }
        self.weights = {name: weight for name, (weight, _) in terms.items() if weight}
        self.functions = nn.ModuleDict({name: terms[name][1] for name in self.weights})

    def terms(self, logits: torch.Tensor, masks: torch.Tensor) -> dict[str, torch.Tensor]:
        """The terms with a weight, by name, before weighting.

        Args:
            logits: Output of a network, shape (B, R, *).
            masks: 0 or 1, same shape.

        Returns:
            Scalars: Dice loss in [0, 1], cross entropy and focal loss in nats per voxel.
        """
        logits, masks = logits.float(), masks.float()
        return {name: function(logits, masks) for name, function in self.functions.items()}

    def forward(self, logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Scalar loss of `logits` against `masks`, both (B, R, *)."""
        terms = self.terms(logits, masks)
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()


class DeepSupervision(nn.Module):
    """A loss over several heads; each coarser head has half the weight of the head before.

    The weights sum to 1, so the loss stays comparable with that of a network with one output. The
    mask for a coarser head holds the voxels of which at least half lies in the region.

    Args:
        loss: Loss of one head.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(
        self, logits: torch.Tensor | Sequence[torch.Tensor], masks: torch.Tensor
    ) -> torch.Tensor:
        """Scalar loss.

        Args:
            logits: Logits (B, R, *), or a list of them, finest first.
            masks: 0 or 1, with the shape of the finest logits.
        """
        if isinstance(logits, torch.Tensor):
            return self.loss(logits, masks)
        weights = torch.tensor([0.5**level for level in range(len(logits))])
        losses = [self.loss(head, _at_size(masks, head.shape[2:])) for head in logits]
        stacked = torch.stack(losses)
        return (stacked * (weights / weights.sum()).to(stacked)).sum()


def _at_size(masks: torch.Tensor, size: torch.Size) -> torch.Tensor:
    if masks.shape[2:] == size:
        return masks
    shares = F.interpolate(masks.float(), size=tuple(size), mode="area")
    return (shares >= 0.5).to(shares)


def build_loss(config: LossConfig) -> nn.Module:
    """The loss of a config; takes logits or a list of logits, finest first, and masks (B, R, *)."""
    return DeepSupervision(RegionLoss(config))
