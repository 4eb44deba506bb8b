"""Networks by name, behind one contract: images in, logits of each region out.

`forward(image (B, C, I, J[, K]))` gives logits `(B, R, I, J[, K])`, never a sigmoid; with deep
supervision, in training, a list of them, finest first, the coarser ones at their own size. The
attribute `divisor` is the number whose multiples the sides of an image must be. All come in 2D
and 3D.

A network is built by `build` in the module of its name, from options in `config.networks`.
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
    """A new network, with random weights, as `config` describes it.

    Args:
        config: The section `network` of a config.
        in_channels: Number of MRI channels.
        out_channels: Number of regions.
        patch_size: Voxels of a patch; its length, 2 or 3, is that of the network.

    Returns:
        A module with the contract above.

    Raises:
        ConfigError: If the network needs a package that is not installed.
        ResourceError: If its weights do not fit into memory.
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
    """Shape and type of each weight of `build_network`, which takes no memory to find out."""
    with WithoutMemory():
        return forms_of(_built(config, in_channels, out_channels, patch_size).state_dict())


def _built(
    config: NetworkConfig, in_channels: int, out_channels: int, patch_size: Sequence[int]
) -> nn.Module:
    # Only the module that is needed: some of MONAI take seconds to import.
    module: Any = importlib.import_module(f"volseg.networks.{config.name}")
    network: nn.Module = module.build(config, in_channels, out_channels, len(patch_size))
    if getattr(config, "norm", "batch") == "instance":
        normalise_each_image(network)
    return network
