"""Networks by name, with one interface: from images to logits of each region.

`forward(image (B, C, I, J[, K]))` returns logits `(B, R, I, J[, K])`, without a sigmoid; in
training with deep supervision, a list of logits, finest first, each at its own size. The sides of
an image must be multiples of the attribute `divisor`. All networks exist in 2D and 3D.

`build` in the module of its name builds a network, from options in `config.networks`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from volseg import memory
from volseg.config import NetworkConfig
from volseg.networks.encoder_weights import load_encoder_weights
from volseg.networks.norms import normalise_each_image
from volseg.networks.prior import FOREGROUND_PRIOR
from volseg.networks.weights import Form, WithoutMemory, forms_of

__all__ = ["FOREGROUND_PRIOR", "build_network", "load_encoder_weights", "network_forms"]


def build_network(
    config: NetworkConfig, in_channels: int, out_channels: int, patch_size: Sequence[int]
) -> nn.Module:
    """A new network with random weights, built from `config`.

    Args:
        config: The section `network` of a config.
        in_channels: Number of channels of the input.
        out_channels: Number of regions.
        patch_size: Voxels of a patch; its length is the number of spatial dimensions, 2 or 3.

    Returns:
        A module with the interface above.

    Raises:
        ConfigError: If the network needs a package that is not installed.
        ResourceError: If memory is too small for its weights.
    """
    forms = network_forms(config, in_channels, out_channels, patch_size).values()
    numbers = sum(math.prod(form.shape) for form in forms)
    memory.require(
        sum(form.nbytes for form in forms),
        f"network {config.name} with {numbers / 1e6:,.0f} million weights",
        "make it narrower, as by network.widths, or use a machine or a job with more memory",
    )
    network: Any = _built(config, in_channels, out_channels, patch_size)
    network.divisor = config.divisor
    return network


def network_forms(
    config: NetworkConfig, in_channels: int, out_channels: int, patch_size: Sequence[int]
) -> dict[str, Form]:
    """Shape and type of each weight of `build_network`, found without their memory."""
    with WithoutMemory():
        return forms_of(_built(config, in_channels, out_channels, patch_size).state_dict())


def _built(
    config: NetworkConfig, in_channels: int, out_channels: int, patch_size: Sequence[int]
) -> nn.Module:
    # Only the needed module: some of MONAI take seconds to import.
    module: Any = importlib.import_module(f"volseg.networks.{config.name}")
    network: nn.Module = module.build(config, in_channels, out_channels, len(patch_size))
    if getattr(config, "norm", "batch") == "instance":
        normalise_each_image(network)
    return network
