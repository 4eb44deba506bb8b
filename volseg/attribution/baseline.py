"""Images that stand in for parts that are taken away, or at which integrated gradients begin."""

from __future__ import annotations

import numpy as np
import torch

from volseg.attribution.target import Target

# Darker values give maps that mark all bright tissue.
_DARK = 25


def neutral_image(target: Target) -> torch.Tensor:
    """An image float32 (C, I, J, K) in which all tissue of a channel has one grey value.

    The value is 0 if grey values are standardised, which is the mean of the tissue then, or if the
    model was trained with missing channels, which are 0. Otherwise it is the mean of the tissue,
    since 0 is as dark as air. Background stays 0.
    """
    config, image = target.model.config, target.image
    if config.preprocessing.intensity == "zscore" or config.data.channels_optional:
        return torch.zeros_like(image)
    tissue = torch.from_numpy(target.tissue)
    means = image[:, tissue].mean(dim=1)
    return means[:, None, None, None] * tissue


def dark_image(target: Target) -> torch.Tensor:
    """An image float32 (C, I, J, K) in which all tissue of a channel has one dark grey value.

    The value is the 25th percentile of the tissue; background stays 0. Integrated gradients begin
    here. From an image of 0, the way to standardised grey values would only raise the contrast.
    Instance norm removes contrast, so that nearly all of the change would lie in the first of any
    number of steps: of a U-Net, 32 steps from 0 miss all of the change, and from here 1 %.
    """
    tissue = target.tissue
    values = np.percentile(target.image.numpy()[:, tissue], _DARK, axis=1).astype(np.float32)
    return torch.from_numpy(values[:, None, None, None] * tissue)
