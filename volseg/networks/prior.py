"""Initial probability of all voxels in a new network."""

from __future__ import annotations

import math

from torch import nn

#: Initial probability of each voxel and region: a region fills about 1 % of a scan. From 0.5, the
#: first hundred steps would mostly learn this share. (As in focal loss: Lin et al., ICCV 2017,
#: section 3.3, https://arxiv.org/abs/1708.02002)
FOREGROUND_PRIOR = 0.01

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def start_from_prior(head: nn.Module) -> None:
    """Set the bias of the last convolution of `head` so that outputs begin at the prior."""
    last = [module for module in head.modules() if isinstance(module, _CONVOLUTIONS)][-1]
    assert last.bias is not None
    nn.init.constant_(last.bias, math.log(FOREGROUND_PRIOR / (1 - FOREGROUND_PRIOR)))
