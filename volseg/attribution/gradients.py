"""Saliency, SmoothGrad and integrated gradients: maps from gradients at the input.

Saliency: Simonyan, Vedaldi, Zisserman, https://arxiv.org/abs/1312.6034. SmoothGrad: Smilkov et al.,
https://arxiv.org/abs/1706.03825. Integrated gradients: Sundararajan, Taly, Yan,
https://arxiv.org/abs/1703.01365
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from volseg.attribution.baseline import dark_image
from volseg.attribution.methods import ExplainOptions
from volseg.attribution.target import Target, Windows

Maps = npt.NDArray[np.float32]

# Grey values beyond these percentiles are too rare to measure the noise by.
_RANGE = 1, 99


def saliency(target: Target, options: ExplainOptions) -> Maps:
    """Absolute gradient (C, I, J, K) of the target: how fast each grey value changes it."""
    return abs(_gradient(target, target.image))


def smooth_grad(target: Target, options: ExplainOptions) -> Maps:
    """Absolute value (C, I, J, K) of the mean gradient over noisy copies of the image.

    The noise is drawn for the whole image, not for each pass as captum's NoiseTunnel does, so that
    overlapping windows see one image, and the map does not depend on the windows of a pass.
    """
    spread = options.noise * _ranges(target)
    tissue = torch.from_numpy(target.tissue)
    total: Maps = np.zeros(target.image.shape, np.float32)
    for sample in range(options.samples):
        random = torch.Generator().manual_seed(sample)
        noisy = torch.randn(target.image.shape, generator=random).mul_(spread).mul_(tissue)
        total += _gradient(target, noisy.add_(target.image)) / options.samples
    return abs(total)


def integrated_gradients(target: Target, options: ExplainOptions) -> Maps:
    """Gradient times change of the image (C, I, J, K), along the line from a dark image.

    The values add up to the target of the image less that of `dark_image`, up to the error of
    `options.steps` steps.
    """
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(target.logits)
    channels = len(target.image)

    def of_windows(windows: Windows) -> torch.Tensor:
        image, dark = windows.image.split(channels, dim=1)
        return method.attribute(
            image,
            dark,
            n_steps=options.steps,
            internal_batch_size=len(image),
            additional_forward_args=windows.mask * windows.share,
        )

    return target.sum_over_windows(of_windows, torch.cat([target.image, dark_image(target)]))


def _gradient(target: Target, image: torch.Tensor) -> Maps:
    from captum.attr import Saliency

    method = Saliency(target.logits)

    def of_windows(windows: Windows) -> torch.Tensor:
        return method.attribute(
            windows.image.requires_grad_(),
            abs=False,
            additional_forward_args=windows.mask * windows.share,
        )

    return target.sum_over_windows(of_windows, image)


def _ranges(target: Target) -> torch.Tensor:
    """Range (C, 1, 1, 1) of the grey values of the tissue in each channel."""
    low, high = np.percentile(target.image.numpy()[:, target.tissue], _RANGE, axis=1)
    return torch.from_numpy((high - low).astype(np.float32))[:, None, None, None]
