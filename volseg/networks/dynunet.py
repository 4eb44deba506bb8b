"""DynUNet of MONAI, with deep supervision heads as a list, each at its own size."""

from __future__ import annotations

import torch
from monai.networks.nets import DynUNet
from torch import nn

from volseg.config.networks.dynunet import DynUNetConfig
from volseg.networks.norms import INSTANCE_NORM
from volseg.networks.prior import start_from_prior


class DeepDynUNet(DynUNet):
    """DynUNet that returns a list of logits, finest first, in training with deep supervision.

    MONAI stacks all heads at full size in one tensor; at its own size each 3D head needs an eighth
    of the memory of the head before, and is compared with a mask of that size.
    """

    def forward(self, image: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        logits = self.output_block(self.skip_layers(image))
        heads = list(self.heads)
        # The skip layers store their outputs in this shared list, in evaluation too. They would
        # keep a whole graph in memory, and a module with such tensors cannot be copied.
        self.heads[:] = [torch.empty(0)] * len(heads)
        return [logits, *heads] if self.training and self.deep_supervision else logits


def build(
    config: DynUNetConfig, in_channels: int, out_channels: int, spatial_dims: int
) -> nn.Module:
    """A new network, with random weights; see `build_network`."""
    levels = len(config.widths)
    network = DeepDynUNet(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        filters=config.widths,
        dropout=config.dropout or None,
        norm_name=INSTANCE_NORM,
        deep_supervision=config.deep_supervision,
        # Two heads beside the output, as in the winner of BraTS 2021 (arXiv:2110.03352), or fewer
        # in a shallow network.
        deep_supr_num=min(2, levels - 2),
        res_block=config.residual,
    )
    start_from_prior(network.output_block)
    for head in network.deep_supervision_heads if config.deep_supervision else ():
        start_from_prior(head)
    return network
