"""What every voxel of a new network starts from."""

from __future__ import annotations

import math

from torch import nn

#: Probability that every voxel of every region starts with: a region takes about 1 % of a scan.
#: From one half, the first hundred steps would do little but learn that. (As the prior of focal
#: loss: Lin et al., ICCV 2017, section 3.3, https://arxiv.org/abs/1708.02002)
FOREGROUND_PRIOR = 0.01

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def start_from_prior(head: nn.Module) -> None:
    """Let the last convolution of `head` begin at the foreground prior."""
    last = [module for module in head.modules() if isinstance(module, _CONVOLUTIONS)][-1]
    assert last.bias is not None
    nn.init.constant_(last.bias, math.log(FOREGROUND_PRIOR / (1 - FOREGROUND_PRIOR)))
