"""Sections `data` and `augmentation`: which cases, how they are cut, how patches change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from volseg.config.marks import Resume
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
    """Which cases, how they are preprocessed, and how they are cut."""

    data_list: Annotated[Path, Resume.FREE] = Field(
        description="JSON data list, relative to the current folder"
    )
    data_root: Annotated[Path | None, Resume.FREE] = Field(
        None, description="folder of the images; default: as listed"
    )
    fold: NonNegativeInt | None = Field(
        0, description="fold to validate on; null trains on every case"
    )
    patch_size: tuple[PositiveInt, ...] = Field(
        (128, 128, 128), min_length=2, max_length=3, description="voxels of a training patch"
    )
    batch_size: PositiveInt = Field(2, description="patches a step and process")
    batches_per_epoch: PositiveInt = Field(250, description="steps an epoch")
    foreground_share: Probability = Field(
        0.5,
        description="share of patches centred on a voxel of a region drawn at random, so in 2D the "
        "share of slices that are sure to show one",
    )
    workers: Annotated[NonNegativeInt | None, Resume.FREE] = Field(
        None, le=256, description="loader processes; null: one less than the cores, 8 at most"
    )
    cache_dir: Annotated[str | None, Resume.FREE] = Field(
        None,
        description="folder of decoded cases; environment variables are expanded; "
        "null: 'cache' beside the run folder",
    )

    @property
    def preprocessing(self) -> PreprocessingConfig:
        """What decides how a case is preprocessed, and nothing else."""
        options = {name: getattr(self, name) for name in PreprocessingOptions.model_fields}
        return PreprocessingConfig(**options, spatial_dims=len(self.patch_size))


class AugmentationConfig(Section):
    """Random changes of a training patch: the probability of each, and how strong it may be."""

    flip: Probability = Field(0.5, description="of each axis")
    rotate: Probability = Field(0.2, description="of a rotation about every axis")
    rotate_degrees: NonNegative = Field(20.0, description="largest angle")
    scale: Probability = Field(0.2, description="of a change of size")
    scale_range: tuple[Positive, Positive] = Field((0.8, 1.25), description="smallest, largest")
    elastic: Probability = Field(0.0, description="of a smooth random displacement")
    elastic_range: NonNegative = Field(
        6.0, description="largest displacement, in voxels of the finest axis"
    )
    elastic_spacing: Positive = Field(
        24.0, description="between control points, in the same voxels"
    )
    intensity_scale: Probability = Field(0.3, description="of a factor for each channel")
    intensity_shift: Probability = Field(0.3, description="of an offset for each channel")
    intensity_range: NonNegative = Field(
        0.15, description="largest change, in standard deviations; of the range for intensity unit"
    )
    bias_field: Probability = Field(0.0, description="of smooth shading, another in each channel")
    bias_field_range: NonNegative = Field(
        0.4,
        description="largest logarithm of its factor; it changes over the length of a patch",
    )
    noise: Probability = Field(0.1, description="of Gaussian noise")
    noise_std: NonNegative = Field(0.1, description="largest standard deviation of the noise")
    blur: Probability = Field(0.1, description="of Gaussian blur")
    blur_sigma: tuple[Positive, Positive] = Field(
        (0.5, 1.0), description="range, in voxels of the finest axis"
    )
    contrast: Probability = Field(0.15, description="of a stretch about the mean")
    contrast_range: tuple[Positive, Positive] = Field((0.75, 1.25), description="range of factors")
    low_resolution: Probability = Field(0.1, description="of down- and upsampling")
    low_resolution_range: tuple[Positive, Positive] = Field(
        (0.5, 1.0), description="range of zoom of the finest axis; one that is coarser is kept"
    )
    gamma: Probability = Field(0.15, description="of a gamma curve")
    gamma_range: tuple[Positive, Positive] = Field((0.7, 1.5), description="range of exponents")
    channel_dropout: Probability = Field(
        0.0,
        description="of each channel being replaced by zeros, one always staying; with "
        "data.fill_missing by that channel",
    )
