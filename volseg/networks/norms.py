"""Instance normalisation: each image is normalised by itself."""

from __future__ import annotations

from torch import nn

#: Instance norm as an argument for MONAI.
INSTANCE_NORM = ("instance", {"affine": True})

_INSTANCE_NORMS = {nn.BatchNorm2d: nn.InstanceNorm2d, nn.BatchNorm3d: nn.InstanceNorm3d}


def normalise_each_image(module: nn.Module) -> None:
    """Replace every batch norm by an instance norm with as many features."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d | nn.BatchNorm3d):
            norm = _INSTANCE_NORMS[type(child)](child.num_features, affine=True)
            setattr(module, name, norm)
        else:
            normalise_each_image(child)
