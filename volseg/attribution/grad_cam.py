"""Grad-CAM: features of a layer, weighted by what they add to the logits of a region.

Selvaraju et al., https://arxiv.org/abs/1610.02391
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from volseg.attribution.layers import chosen_layer
from volseg.attribution.methods import ExplainOptions
from volseg.attribution.target import Target, Windows


def grad_cam(target: Target, options: ExplainOptions) -> npt.NDArray[np.float32]:
    """Grad-CAM (1, I, J, K) of a layer; windows are averaged as probabilities are in inference."""
    from captum.attr import LayerAttribution, LayerGradCam

    layer = chosen_layer(target.model, options.layer)
    method = LayerGradCam(target.logits, target.model.network.get_submodule(layer.name))
    mode = "bilinear" if target.model.config.by_slice else "trilinear"

    def of_windows(windows: Windows) -> torch.Tensor:
        weights = windows.mask * windows.share
        maps = method.attribute(
            windows.image, additional_forward_args=weights, relu_attributions=True
        )
        full = LayerAttribution.interpolate(maps, windows.image.shape[2:], mode)
        return full * windows.share[:, None]

    return target.sum_over_windows(of_windows)
