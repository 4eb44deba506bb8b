"""Layers of a network whose features can be explained, with their resolution."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.modules import activation

from volseg.errors import AttributionError
from volseg.model_file import Model
from volseg.words import shown

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_INSTANCE_NORMS = (nn.InstanceNorm2d, nn.InstanceNorm3d)

#: Resolution that Grad-CAM shows by default. Coarser layers do not say where. Finer ones repeat the
#: prediction; and where instance norm follows, it removes the mean of the gradient, by which
#: Grad-CAM weights features, but for the pattern of strided convolutions: of trained U-Nets, maps
#: at 1/4 and 1/2 are grids of points or stripes.
RESOLUTION = 1 / 8


@dataclass(frozen=True)
class Layer:
    """A block of a network: convolutions with an activation.

    Attributes:
        name: Name of the module, as in `network.named_modules()`.
        resolution: Sides of its features as a share of the sides of the image; the smallest share
            of all axes.
        channels: Number of its features.
    """

    name: str
    resolution: float
    channels: int

    def __str__(self) -> str:
        share = f"1/{1 / self.resolution:g} of the sides" if self.resolution < 1 else "full size"
        return f"{self.name} ({share}, {self.channels} features)"


def layers_of(model: Model) -> list[Layer]:
    """Blocks of a network in the order of computation; no weight is used."""
    network, window = model.network, model.config.window_size
    blocks = {
        module: name for name, module in network.named_modules() if name and _is_block(module)
    }
    calls: Counter[nn.Module] = Counter()
    # By output, since a block may end in another one; the outer block comes last.
    found: dict[int, tuple[nn.Module, torch.Tensor]] = {}

    def note(module: nn.Module, _: Any, features: Any) -> None:
        calls[module] += 1
        if isinstance(features, torch.Tensor) and features.ndim == 2 + len(window):
            found[id(features)] = module, features

    # The outermost module that outputs the logits is the network.
    hooks = [module.register_forward_hook(note) for module in (*blocks, network)]
    tensors = (*network.named_parameters(), *network.named_buffers())
    shape = (1, len(model.config.data.channels), *window)
    try:
        with torch.no_grad():
            functional_call(
                network,
                {name: tensor.to("meta") for name, tensor in tensors},
                (torch.empty(shape, device="meta"),),
                tie_weights=False,  # else modules that stand in two places stay on "meta"
            )
    finally:
        for hook in hooks:
            hook.remove()
    return [
        Layer(blocks[module], _resolution(features.shape[2:], window), features.shape[1])
        for module, features in found.values()
        if module is not network and calls[module] == 1
    ]


def _is_block(module: nn.Module) -> bool:
    parts = list(module.modules())
    return any(isinstance(part, _CONVOLUTIONS) for part in parts) and any(
        type(part).__module__ == activation.__name__ for part in parts
    )


def _resolution(size: Sequence[int], window: Sequence[int]) -> float:
    return min(length / whole for length, whole in zip(size, window, strict=True))


def chosen_layer(model: Model, name: str | None) -> Layer:
    """The layer with a name; None: the last of the resolution nearest to 1/8.

    Raises:
        AttributionError: If the network has no such layer.
    """
    layers = layers_of(model)
    if name is None:
        return min(reversed(layers), key=lambda layer: abs(math.log(layer.resolution / RESOLUTION)))
    for layer in layers:
        if layer.name == name:
            return layer
    raise AttributionError(
        f"{model.path} has no layer {shown(name)}",
        remedy=f"use one of {', '.join(map(str, layers))}",
    )


def has_instance_norm(model: Model) -> bool:
    """Whether a layer of the network normalises each feature of each image by itself."""
    return any(isinstance(part, _INSTANCE_NORMS) for part in model.network.modules())
