"""Section `network`: a class for each network, told apart by its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from volseg.config.section import NonNegativeInt, PositiveInt, Probability, Section

# More of either is a slip of the pen, and would take hours or all memory to find out.
Features = Annotated[PositiveInt, Field(le=100_000)]
UpTo100 = Annotated[PositiveInt, Field(le=100)]
_MOST_LEVELS = 16
_DEEP_SUPERVISION = "losses at coarser levels as well"
_DROPOUT = "share of features that are set to 0 in training"
_WIDTHS = "features of each level, finest first"


class NetworkSection(Section):
    """Options that every network has. `divisor`: patch sizes must be its multiples."""

    name: str
    deep_supervision: bool = Field(False, description=_DEEP_SUPERVISION)

    @property
    def divisor(self) -> int:
        """Sides of a patch must be multiples of this number."""
        raise NotImplementedError


class _Levels(NetworkSection):
    widths: tuple[Features, ...] = Field(
        (32, 64, 128, 256, 320),
        min_length=2,
        max_length=_MOST_LEVELS,
        description=_WIDTHS,
    )
    dropout: Probability = Field(0.0, description=_DROPOUT)

    @property
    def divisor(self) -> int:
        return 2 ** (len(self.widths) - 1)


class _BatchNorm(NetworkSection):
    norm: Literal["batch", "instance"] = Field(
        "batch",
        description="batch: as published; instance: each image by itself, for images that differ "
        "in brightness from those of the training",
    )


class UNetConfig(_Levels):
    """Residual U-Net of MONAI."""

    name: Literal["unet"] = "unet"
    deep_supervision: Literal[False] = False
    residual_units: Annotated[NonNegativeInt, Field(le=100)] = Field(
        2, description="convolutions in each level"
    )
    full_resolution: bool = Field(
        False,
        description="first level at the resolution of the image; else at half of it: faster",
    )

    @property
    def divisor(self) -> int:
        return 2 ** (len(self.widths) - 1 - self.full_resolution)


class DynUNetConfig(_Levels):
    """U-Net as nnU-Net builds it, with deep supervision."""

    name: Literal["dynunet"] = "dynunet"
    deep_supervision: bool = Field(True, description=_DEEP_SUPERVISION)
    widths: tuple[Features, ...] = Field(
        (32, 64, 128, 256, 320, 320),
        min_length=3,
        max_length=_MOST_LEVELS,
        description=_WIDTHS,
    )
    residual: bool = Field(False, description="residual blocks")


class SegResNetConfig(NetworkSection):
    """Residual encoder and light decoder; winner of BraTS 2018."""

    name: Literal["segresnet"] = "segresnet"
    width: Features = Field(16, description="features of the finest level; a multiple of 8")
    blocks_down: tuple[UpTo100, ...] = Field(
        (1, 2, 2, 4),
        min_length=2,
        max_length=_MOST_LEVELS,
        description="residual blocks of each level of the encoder, finest first",
    )
    blocks_up: tuple[UpTo100, ...] = Field(
        (1, 1, 1),
        min_length=1,
        max_length=_MOST_LEVELS,
        description="residual blocks of each level of the decoder, one level less",
    )
    dropout: Probability = Field(0.0, description=_DROPOUT)
    deep_supervision: Literal[False] = False

    @model_validator(mode="after")
    def _levels_match(self) -> SegResNetConfig:
        if len(self.blocks_up) != len(self.blocks_down) - 1:
            raise ValueError(
                f"blocks_up needs {len(self.blocks_down) - 1} numbers, one less than blocks_down, "
                f"got {len(self.blocks_up)}"
            )
        if self.width % 8:
            raise ValueError(f"width must be a multiple of 8, got {self.width}")
        return self

    @property
    def divisor(self) -> int:
        return 2 ** (len(self.blocks_down) - 1)


class AttentionUNetConfig(_Levels, _BatchNorm):
    """U-Net with attention gates on its skip connections."""

    name: Literal["attention_unet"] = "attention_unet"
    deep_supervision: Literal[False] = False


class SwinUNETRConfig(NetworkSection):
    """Swin transformer encoder, convolutional decoder."""

    name: Literal["swin_unetr"] = "swin_unetr"
    width: Features = Field(48, description="features of the first level; a multiple of 12")
    depths: tuple[UpTo100, UpTo100, UpTo100, UpTo100] = Field(
        (2, 2, 2, 2), description="transformer blocks of each stage"
    )
    dropout: Probability = Field(0.0, description=_DROPOUT)
    checkpointing: bool = Field(False, description="recompute activations: less memory, more time")
    deep_supervision: Literal[False] = False

    @model_validator(mode="after")
    def _width(self) -> SwinUNETRConfig:
        if self.width % 12:
            raise ValueError(f"width must be a multiple of 12, got {self.width}")
        return self

    @property
    def divisor(self) -> int:
        return 32


class SegNetConfig(_BatchNorm):
    """VGG encoder; the decoder unpools to where the encoder's maxima were."""

    name: Literal["segnet"] = "segnet"
    widths: tuple[Features, ...] = Field(
        (64, 128, 256, 512, 512),
        min_length=2,
        max_length=_MOST_LEVELS,
        description=_WIDTHS,
    )
    convolutions: tuple[UpTo100, ...] = Field(
        (2, 2, 3, 3, 3),
        min_length=2,
        max_length=_MOST_LEVELS,
        description="convolutions of each level, down and up",
    )
    dropout: Probability = Field(0.0, description=_DROPOUT)
    deep_supervision: Literal[False] = False

    @model_validator(mode="after")
    def _levels_match(self) -> SegNetConfig:
        if len(self.convolutions) != len(self.widths):
            raise ValueError(
                f"convolutions needs {len(self.widths)} numbers, one for each of widths, "
                f"got {len(self.convolutions)}"
            )
        return self

    @property
    def divisor(self) -> int:
        return 2 ** len(self.widths)


class _EncoderSection(_BatchNorm):
    encoder: Literal[
        "resnet10",
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "efficientnet-b0",
        "efficientnet-b1",
        "efficientnet-b2",
        "efficientnet-b3",
        "efficientnet-b4",
    ] = Field("resnet50", description="network whose features are decoded")
    encoder_width: Features | None = Field(
        None, description="features of the first stage of a resnet; null: as published, 64"
    )
    encoder_weights: Path | None = Field(
        None,
        description="state dict (.pt, .pth, .safetensors) that the encoder starts from, relative "
        "to the current folder; null: random; a trained model does not need it",
    )
    output_stride: Literal[8, 16] = Field(
        16, description="voxels of the image for one of the deepest features"
    )
    dropout: Probability = Field(0.1, description=_DROPOUT)
    deep_supervision: Literal[False] = False

    @model_validator(mode="after")
    def _width_of_a_resnet(self) -> _EncoderSection:
        if self.encoder_width is not None and not self.encoder.startswith("resnet"):
            raise ValueError(
                f"encoder_width is for a resnet, but encoder is {self.encoder}; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _weights_come_with_batch_norm(self) -> _EncoderSection:
        if self.encoder_weights is not None and self.norm != "batch":
            raise ValueError(
                "encoder_weights were trained with batch norm; leave norm out, or encoder_weights"
            )
        return self

    @property
    def divisor(self) -> int:
        return self.output_stride


class DeepLabV3PlusConfig(_EncoderSection):
    """Atrous spatial pyramid on a dilated encoder, decoder with finer features."""

    name: Literal["deeplabv3plus"] = "deeplabv3plus"
    rates: tuple[UpTo100, ...] = Field(
        (6, 12, 18),
        min_length=1,
        max_length=_MOST_LEVELS,
        description="dilations at output stride 16; doubled at 8",
    )
    width: Features = Field(256, description="features of pyramid and decoder")
    low_level_width: Features = Field(48, description="features of the skip connection at stride 4")
    separable: bool = Field(True, description="depthwise separable convolutions after the encoder")


class PSPNetConfig(_EncoderSection):
    """Pyramid of pooled context on a dilated encoder."""

    name: Literal["pspnet"] = "pspnet"
    output_stride: Literal[8, 16] = Field(
        8, description="voxels of the image for one of the deepest features"
    )
    bins: tuple[UpTo100, ...] = Field(
        (1, 2, 3, 6),
        min_length=1,
        max_length=_MOST_LEVELS,
        description="cells along each side, for each level of the pyramid",
    )
    width: Features = Field(512, description="features before the last convolution")


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

NETWORK_SECTIONS: Mapping[str, type[NetworkSection]] = {
    section.model_fields["name"].default: section
    for section in get_args(get_args(NetworkConfig)[0])
}
