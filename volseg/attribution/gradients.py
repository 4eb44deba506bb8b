"""Saliency, SmoothGrad and integrated gradients: maps from gradients at the input.

Saliency: Simonyan, Vedaldi, Zisserman, https://arxiv.org/abs/1312.6034. SmoothGrad: Smilkov et al.,
https://arxiv.org/abs/1706.03825. Integrated gradients: Sundararajan, Taly, Yan,
https://arxiv.org/abs/1703.01365
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from volseg.attribution.methods import ExplainOptions
from volseg.attribution.target import Target, Windows

Maps = npt.NDArray[np.float32]


def saliency(target: Target, options: ExplainOptions) -> Maps:
    """Absolute gradient (C, I, J, K) of the target: how fast each grey value changes it."""
    return abs(_gradient(target, target.image))


def _gradient(target: Target, image: torch.Tensor) -> Maps:
    from captum.attr import Saliency

    method = Saliency(target.logits)

    def of_windows(windows: Windows) -> torch.Tensor:
        weights = windows.mask * windows.share
        image = windows.image.requires_grad_()
        return method.attribute(image, abs=False, additional_forward_args=weights)

    return target.sum_over_windows(of_windows, image)
