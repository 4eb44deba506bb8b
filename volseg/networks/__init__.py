"""Networks by name, behind one contract: images in, logits of each region out.

`forward(image (B, C, I, J[, K]))` gives logits `(B, R, I, J[, K])`, never a sigmoid; with deep
supervision, in training, a list of them, finest first, the coarser ones at their own size. The
attribute `divisor` is the number whose multiples the sides of an image must be. All come in 2D
and 3D.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from monai.networks.nets import AttentionUnet, SegResNet, SwinUNETR, UNet
from torch import nn

from volseg import memory
from volseg.config import (
    AttentionUNetConfig,
    DeepLabV3PlusConfig,
    DynUNetConfig,
    NetworkConfig,
    PSPNetConfig,
    SegNetConfig,
    SegResNetConfig,
    SwinUNETRConfig,
    UNetConfig,
)
from volseg.errors import ConfigError
from volseg.networks.deeplabv3plus import DeepLabV3Plus
from volseg.networks.dynunet import DeepDynUNet
from volseg.networks.encoder_weights import load_encoder_weights
from volseg.networks.encoders import Encoder, build_encoder
from volseg.networks.pspnet import PSPNet
from volseg.networks.segnet import SegNet
from volseg.networks.weights import Form, WithoutMemory, forms_of

__all__ = ["FOREGROUND_PRIOR", "NETWORKS", "build_network", "load_encoder_weights", "network_forms"]

#: Probability that every voxel of every region starts with: a region takes about 1 % of a scan.
#: From one half, the first hundred steps would do little but learn that. (As the prior of focal
#: loss: Lin et al., ICCV 2017, section 3.3, https://arxiv.org/abs/1708.02002)
FOREGROUND_PRIOR = 0.01

_INSTANCE_NORM = ("instance", {"affine": True})
_INSTANCE_NORMS: Mapping[type[nn.Module], type[nn.InstanceNorm2d | nn.InstanceNorm3d]] = {
    nn.BatchNorm2d: nn.InstanceNorm2d,
    nn.BatchNorm3d: nn.InstanceNorm3d,
}
_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def build_network(
    config: NetworkConfig, in_channels: int, out_channels: int, patch_size: Sequence[int]
) -> nn.Module:
    """A new network, with random weights, as `config` describes it.

    Args:
        config: The section `network` of a config; its `name` is a key of `NETWORKS`.
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
    network = NETWORKS[config.name](config, in_channels, out_channels, len(patch_size))
    if getattr(config, "norm", "batch") == "instance":
        _normalise_each_image(network)
    return network


def _normalise_each_image(module: nn.Module) -> None:
    """Replace every batch norm by an instance norm of as many features."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d | nn.BatchNorm3d):
            norm = _INSTANCE_NORMS[type(child)](child.num_features, affine=True)
            setattr(module, name, norm)
        else:
            _normalise_each_image(child)


def _unet(config: UNetConfig, in_channels: int, out_channels: int, spatial_dims: int) -> nn.Module:
    network = UNet(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=out_channels,
        channels=config.widths,
        strides=[1 if config.full_resolution else 2] + [2] * (len(config.widths) - 2),
        num_res_units=config.residual_units,
        norm=_INSTANCE_NORM,
        dropout=config.dropout,
    )
    _start_from_prior(network.model)
    return network


def _dynunet(
    config: DynUNetConfig, in_channels: int, out_channels: int, spatial_dims: int
) -> nn.Module:
    levels = len(config.widths)
    network = DeepDynUNet(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        filters=config.widths,
        dropout=config.dropout or None,
        norm_name=_INSTANCE_NORM,
        deep_supervision=config.deep_supervision,
        # Two heads beside the output, as in the winner of BraTS 2021 (arXiv:2110.03352), or as
        # many as a shallower network has room for.
        deep_supr_num=min(2, levels - 2),
        res_block=config.residual,
    )
    _start_from_prior(network.output_block)
    for head in network.deep_supervision_heads if config.deep_supervision else ():
        _start_from_prior(head)
    return network


def _segresnet(
    config: SegResNetConfig, in_channels: int, out_channels: int, spatial_dims: int
) -> nn.Module:
    network = SegResNet(
        spatial_dims=spatial_dims,
        init_filters=config.width,
        in_channels=in_channels,
        out_channels=out_channels,
        dropout_prob=config.dropout or None,
        blocks_down=config.blocks_down,
        blocks_up=config.blocks_up,
    )
    _start_from_prior(network.conv_final)
    return network


def _attention_unet(
    config: AttentionUNetConfig, in_channels: int, out_channels: int, spatial_dims: int
) -> nn.Module:
    network = AttentionUnet(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=out_channels,
        channels=config.widths,
        strides=[2] * (len(config.widths) - 1),
        dropout=config.dropout,
    )
    _start_from_prior(network.model)
    return network


def _swin_unetr(
    config: SwinUNETRConfig, in_channels: int, out_channels: int, spatial_dims: int
) -> nn.Module:
    # MONAI imports einops only in the first forward pass, which may come hours after a job began.
    if importlib.util.find_spec("einops") is None:
        raise ConfigError(
            "network swin_unetr needs einops", remedy="pip install 'volseg[transformer]'"
        )
    network = SwinUNETR(
        in_channels=in_channels,
        out_channels=out_channels,
        depths=config.depths,
        feature_size=config.width,
        drop_rate=config.dropout,
        use_checkpoint=config.checkpointing,
        spatial_dims=spatial_dims,
    )
    _start_from_prior(network.out)
    return network


def _segnet(
    config: SegNetConfig, in_channels: int, out_channels: int, spatial_dims: int
) -> nn.Module:
    network = SegNet(
        spatial_dims,
        in_channels,
        out_channels,
        widths=config.widths,
        convolutions=config.convolutions,
        dropout=config.dropout,
    )
    _start_from_prior(network.head)
    return network


def _deeplabv3plus(
    config: DeepLabV3PlusConfig, in_channels: int, out_channels: int, spatial_dims: int
) -> nn.Module:
    network = DeepLabV3Plus(
        _encoder(config, in_channels, spatial_dims),
        out_channels,
        # Twice as dense a grid, twice the dilation: so the pyramid looks as far (section 4).
        rates=[rate * 16 // config.output_stride for rate in config.rates],
        width=config.width,
        low_level_width=config.low_level_width,
        separable=config.separable,
        dropout=config.dropout,
    )
    _start_from_prior(network.head)
    return network


def _pspnet(
    config: PSPNetConfig, in_channels: int, out_channels: int, spatial_dims: int
) -> nn.Module:
    network = PSPNet(
        _encoder(config, in_channels, spatial_dims),
        out_channels,
        bins=config.bins,
        width=config.width,
        dropout=config.dropout,
    )
    _start_from_prior(network.head)
    return network


def _encoder(
    config: DeepLabV3PlusConfig | PSPNetConfig, in_channels: int, spatial_dims: int
) -> Encoder:
    return build_encoder(
        config.encoder, in_channels, spatial_dims, config.output_stride, config.encoder_width
    )


def _start_from_prior(head: nn.Module) -> None:
    """Let the last convolution of `head` begin at the foreground prior."""
    last = [module for module in head.modules() if isinstance(module, _CONVOLUTIONS)][-1]
    assert last.bias is not None
    nn.init.constant_(last.bias, math.log(FOREGROUND_PRIOR / (1 - FOREGROUND_PRIOR)))


Builder = Callable[[Any, int, int, int], nn.Module]

NETWORKS: Mapping[str, Builder] = MappingProxyType(
    {
        "unet": _unet,
        "dynunet": _dynunet,
        "segresnet": _segresnet,
        "attention_unet": _attention_unet,
        "swin_unetr": _swin_unetr,
        "segnet": _segnet,
        "deeplabv3plus": _deeplabv3plus,
        "pspnet": _pspnet,
    }
)
