"""Networks for gradients at their input or their features: exact, and within little memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

_WEIGHTED = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
# Such blocks are at most a level of a U-Net, so that recomputing them takes little memory.
_MOST_WEIGHTED = 4


@contextlib.contextmanager
def differentiable(network: nn.Module, layer: str | None = None) -> Iterator[None]:
    """Inside, gradients of the network are float32 without TF32, and need little memory.

    Weights are constants, so that a convolution need not keep its input; and each block computes
    its features again in the backward pass, instead of keeping them.

    Args:
        network: A network in evaluation mode.
        layer: Name of the module whose features are differentiated, if any.
    """
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    # A module may stand in two places of a network.
    found = dict.fromkeys(_blocks(network))
    blocks = [block for block in found if not _holds(network, block, layer)]
    matmul = torch.backends.cuda.matmul.allow_tf32
    try:
        for weight in trained:
            weight.requires_grad_(False)
        for block in blocks:
            # Random numbers are for dropout, which evaluation mode turns off.
            block.forward = partial(
                checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False
            )
        torch.backends.cuda.matmul.allow_tf32 = False
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = matmul
        for block in blocks:
            del block.forward
        for weight in trained:
            weight.requires_grad_(True)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Outermost modules of several parts that have few weighted layers, but at least one."""
    for child in module.children():
        weighted = sum(isinstance(part, _WEIGHTED) for part in child.modules())
        if weighted > _MOST_WEIGHTED:
            yield from _blocks(child)
        elif weighted and any(child.children()):
            yield child


def _holds(network: nn.Module, block: nn.Module, layer: str | None) -> bool:
    """Whether a layer lies inside a block, where it would be computed twice."""
    if layer is None:
        return False
    inner = network.get_submodule(layer)
    return inner is not block and any(part is inner for part in block.modules())
