"""DynUNet of MONAI with its deep supervision heads as a list, each at its own size."""

from __future__ import annotations

import torch
from monai.networks.nets import DynUNet


class DeepDynUNet(DynUNet):
    """DynUNet that gives a list of logits, finest first, in training with deep supervision.

    MONAI's own stacks all heads at full size in one tensor; at their own sizes they take an
    eighth of the memory each, and are compared with a mask of that size.
    """

    def forward(self, image: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        logits = self.output_block(self.skip_layers(image))
        heads = list(self.heads)
        # The skip layers leave their outputs in this shared list, in evaluation too: kept, they
        # would hold a whole graph in memory, and a module with such tensors cannot be copied.
        self.heads[:] = [torch.empty(0)] * len(heads)
        return [logits, *heads] if self.training and self.deep_supervision else logits
