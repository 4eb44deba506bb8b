"""Section `network`: a class of options for each network."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, get_args

from pydantic import Field

from volseg.config.networks.attention_unet import AttentionUNetConfig
from volseg.config.networks.deeplabv3plus import DeepLabV3PlusConfig
from volseg.config.networks.dynunet import DynUNetConfig
from volseg.config.networks.pspnet import PSPNetConfig
from volseg.config.networks.section import NetworkSection
from volseg.config.networks.segnet import SegNetConfig
from volseg.config.networks.segresnet import SegResNetConfig
from volseg.config.networks.swin_unetr import SwinUNETRConfig
from volseg.config.networks.unet import UNetConfig

# A network has its options in a module of this package and its `build` in a module of
# `volseg.networks`; both modules have the name of the network.
NetworkConfig = Annotated[
    UNetConfig
    | DynUNetConfig
    | SegResNetConfig
    | AttentionUNetConfig
    | SwinUNETRConfig
    | SegNetConfig
    | DeepLabV3PlusConfig
    | PSPNetConfig,
    Field(discriminator="name"),
]

NETWORKS: Mapping[str, type[NetworkSection]] = MappingProxyType(
    {
        section.model_fields["name"].default: section
        for section in get_args(get_args(NetworkConfig)[0])
    }
)
