"""Grey values that say nothing: what stands in for a part of an image that is taken away."""

from __future__ import annotations

import torch

from volseg.attribution.target import Target


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
