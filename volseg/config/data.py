"""Sections `data` and `augmentation`: cases, patches, and random changes of patches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from volseg.config.marks import Idle, Resume
from volseg.config.preprocessing import PreprocessingConfig, PreprocessingOptions
from volseg.config.section import (
    NonNegative,
    NonNegativeInt,
    Positive,
    PositiveInt,
    Probability,
    Section,
)


class DataConfig(PreprocessingOptions):
    """Cases, their preprocessing, and the patches cut from them."""

    data_list: Annotated[Path, Resume.FREE] = Field(
        description="JSON data list, relative to the current folder"
    )
    data_root: Annotated[Path | None, Resume.FREE] = Field(
        None,
        description="folder that the paths of the list are relative to; null: as in the list",
    )
    fold: NonNegativeInt | None = Field(
        0, description="fold to validate on; null trains on every case"
    )
    patch_size: tuple[PositiveInt, ...] = Field(
        (128, 128, 128), min_length=2, max_length=3, description="voxels of a training patch"
    )
    batch_size: PositiveInt = Field(2, description="patches in each step and process")
    batches_per_epoch: PositiveInt = Field(250, description="steps of an epoch")
    foreground_share: Probability = Field(
        0.5,
        description="share of patches centred on a voxel of a random region; in 2D, share of "
        "slices chosen to show a region",
    )
    channel_dropout: Probability = Field(
        0.0,
        description="share of training patches in which a random choice of channels, never all, is "
        "missing (0); above 0, the model also segments cases without some channels",
    )
    workers: Annotated[NonNegativeInt | None, Resume.FREE] = Field(
        None, le=256, description="loader processes; null: one less than the cores, 8 at most"
    )
    cache_dir: Annotated[str | None, Resume.FREE] = Field(
        None,
        description="folder of preprocessed cases; environment variables are expanded; "
        "null: 'cache' beside the run folder",
    )

    @property
    def preprocessing(self) -> PreprocessingConfig:
        """The options that determine how a case is preprocessed."""
        options = {name: getattr(self, name) for name in PreprocessingOptions.model_fields}
        return PreprocessingConfig(**options, spatial_dims=len(self.patch_size))

    @property
    def channels_optional(self) -> bool:
        """Whether a case may lack channels, which are then 0; at least one is always needed."""
        return self.channel_dropout > 0

    @property
    def required_channels(self) -> tuple[str, ...] | None:
        """Channels that no case may lack; None: all."""
        if self.channels_optional:
            return ()
        return None if self.fill_missing is None else (self.fill_missing,)

    @model_validator(mode="after")
    def _droppable(self) -> DataConfig:
        if not self.channel_dropout:
            return self
        found = f"channel_dropout is {self.channel_dropout:g}, but"
        if len(self.channels) == 1:
            raise ValueError(
                f"{found} {self.channels[0]} is the only channel, and a case needs one; "
                "set channel_dropout to 0"
            )
        if self.fill_missing is not None:
            raise ValueError(
                f"{found} fill_missing is {self.fill_missing!r}, so that a missing channel is a "
                "copy and not 0; set one of the two, and augmentation.channel_dropout to train "
                "with copies"
            )
        return self


class AugmentationConfig(Section):
    """Random changes of a training patch: probability and limits of each change."""

    flip: Probability = Field(0.5, description="probability of mirroring along each axis")
    rotate: Probability = Field(0.2, description="probability of a rotation about every axis")
    rotate_degrees: NonNegative = Field(20.0, description="largest angle, in degrees")
    scale: Probability = Field(0.2, description="probability of a change of size")
    scale_range: tuple[Positive, Positive] = Field(
        (0.8, 1.25), description="range of the factor of size"
    )
    elastic: Probability = Field(0.0, description="probability of a smooth random displacement")
    elastic_range: NonNegative = Field(
        6.0, description="largest displacement, in voxels of the finest axis"
    )
    elastic_spacing: Positive = Field(
        24.0, description="distance of control points, in voxels of the finest axis"
    )
    intensity_scale: Probability = Field(
        0.3, description="probability of a factor for each channel"
    )
    intensity_shift: Probability = Field(
        0.3, description="probability of an offset for each channel"
    )
    intensity_range: NonNegative = Field(
        0.15,
        description="largest change by factor and offset, in standard deviations; with "
        "data.intensity unit, as a share of the range",
    )
    bias_field: Probability = Field(
        0.0, description="probability of smooth shading, different in each channel"
    )
    bias_field_range: NonNegative = Field(
        0.4,
        description="largest logarithm of the shading factor; it varies over the length of a patch",
    )
    noise: Probability = Field(0.1, description="probability of Gaussian noise")
    noise_std: NonNegative = Field(0.1, description="largest standard deviation of the noise")
    blur: Probability = Field(0.1, description="probability of Gaussian blur")
    blur_sigma: tuple[Positive, Positive] = Field(
        (0.5, 1.0), description="range of sigma, in voxels of the finest axis"
    )
    contrast: Probability = Field(0.15, description="probability of scaling about the mean")
    contrast_range: tuple[Positive, Positive] = Field(
        (0.75, 1.25), description="range of the factor of contrast"
    )
    low_resolution: Probability = Field(0.1, description="probability of down- and upsampling")
    low_resolution_range: tuple[Positive, Positive] = Field(
        (0.5, 1.0), description="range of the zoom of the finest axis; coarser axes are unchanged"
    )
    gamma: Probability = Field(0.15, description="probability of a gamma curve")
    gamma_range: tuple[Positive, Positive] = Field((0.7, 1.5), description="range of the exponent")
    channel_dropout: Annotated[
        Probability,
        Idle(
            lambda config: config.data.channel_dropout > 0,
            "has no effect, as data.channel_dropout={data.channel_dropout:g} drops channels",
        ),
    ] = Field(
        0.0,
        description="probability of replacing each channel by zeros, or by the channel of "
        "data.fill_missing; at least one channel is kept. It makes no channel optional: see "
        "data.channel_dropout",
    )
