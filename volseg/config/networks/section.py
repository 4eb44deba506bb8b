"""Options that several networks share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from volseg.config.section import PositiveInt, Probability, Section

# Larger numbers are typing errors that would otherwise show only after hours or without memory.
Features = Annotated[PositiveInt, Field(le=100_000)]
UpTo100 = Annotated[PositiveInt, Field(le=100)]
MOST_LEVELS = 16

# Meanings of options that several networks have.
WIDTHS = "features of each level, finest first"
DROPOUT = "share of features that are set to 0 in training"
DEEP_SUPERVISION = "loss also at coarser levels"


class NetworkSection(Section):
    """Options that every network has.

    The module of the same name in `volseg.networks` builds the network.
    """

    name: str
    deep_supervision: bool = Field(False, description=DEEP_SUPERVISION)

    @property
    def divisor(self) -> int:
        """Number of which the sides of a patch must be multiples."""
        raise NotImplementedError

    @classmethod
    def example(cls) -> Self:
        """A small network of this kind, for tests."""
        raise NotImplementedError


class Levels(NetworkSection):
    """Options of networks with a number of features for each level."""

    widths: tuple[Features, ...] = Field(
        (32, 64, 128, 256, 320),
        min_length=2,
        max_length=MOST_LEVELS,
        description=WIDTHS,
    )
    dropout: Probability = Field(0.0, description=DROPOUT)

    @property
    def divisor(self) -> int:
        return 2 ** (len(self.widths) - 1)


class BatchNorm(NetworkSection):
    """Options of networks that normalise over the batch, as published."""

    norm: Literal["batch", "instance"] = Field(
        "batch",
        description="batch: as published; instance: each image by itself, for images that differ "
        "in brightness from those of the training",
    )


class EncoderSection(BatchNorm):
    """Options of networks on an encoder with published weights."""

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
    ] = Field("resnet50", description="network that computes the features")
    encoder_width: Features | None = Field(
        None, description="features of the first stage of a resnet; null: as published, 64"
    )
    encoder_weights: Path | None = Field(
        None,
        description="file of initial encoder weights (.pt, .pth, .safetensors), relative to the "
        "current folder; null: random weights; a trained model does not need the file",
    )
    output_stride: Literal[8, 16] = Field(
        16, description="size of a voxel of the deepest features, in voxels of the image"
    )
    dropout: Probability = Field(0.1, description=DROPOUT)
    deep_supervision: Literal[False] = False

    @model_validator(mode="after")
    def _width_of_a_resnet(self) -> EncoderSection:
        if self.encoder_width is not None and not self.encoder.startswith("resnet"):
            raise ValueError(
                f"encoder_width is for a resnet, but encoder is {self.encoder}; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _weights_come_with_batch_norm(self) -> EncoderSection:
        if self.encoder_weights is not None and self.norm != "batch":
            raise ValueError(
                "encoder_weights were trained with batch norm; leave norm out, or encoder_weights"
            )
        return self

    @property
    def divisor(self) -> int:
        return self.output_stride
