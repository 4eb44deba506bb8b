"""The options that determine how a case is preprocessed, and their digest.

`preprocess` gets no other options. Preprocessed cases with the same digest are interchangeable: in
the cache, in an ensemble, in a resumed run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from volseg.config.section import Float, Section, Share, Spacing

CHANNELS = ("t1n", "t1c", "t2w", "t2f")

# Increase it when the same options give other numbers than before.
_VERSION = 2
# Options that came later. Unset, they are no part of the digest, so that it stays what it was.
_LATER = ("windows", "clip_percentiles")

Percent = Annotated[Float, Field(ge=0, le=100)]


class PreprocessingOptions(Section):
    """Options of channels, spacing, background and grey values; a part of section `data`."""

    channels: tuple[str, ...] = Field(
        CHANNELS, min_length=1, description="channels of the input, in this order"
    )
    spacing_mm: tuple[Spacing, ...] = Field(
        (1.0, 1.0, 1.0),
        min_length=3,
        max_length=3,
        description="spacing the network works at, in mm",
    )
    background: Share = Field(
        0.0,
        description="voxels at or below this share of the 99.5th percentile in all channels are "
        "background; 0: the background is the value that fills the border of a channel",
    )
    intensity: Literal["zscore", "unit"] = Field(
        "zscore",
        description="zscore: mean 0 and standard deviation 1 over the tissue of each channel; "
        "unit: from 0 to 1 over intensity_range",
    )
    intensity_range: tuple[float, float] | None = Field(
        None,
        description="for unit, the grey values that become 0 and 1 in all channels of all cases; "
        "null: background and largest value of each channel of a case",
    )
    windows: Mapping[str, tuple[Float, Float]] = Field(
        default_factory=dict,
        description="for channels of absolute grey values, such as CT: the values that others are "
        "clipped to, by channel; what is at or below the lower value and reaches the border is "
        "background; with intensity unit they become 0 and 1",
    )
    clip_percentiles: Mapping[str, tuple[Percent, Percent]] = Field(
        default_factory=dict,
        description="percentiles of the tissue of a case that grey values are clipped to, by "
        "channel",
    )
    fill_missing: str | None = Field(
        None,
        description="channel that stands in for a missing one; null: a missing channel is an error",
    )

    @model_validator(mode="after")
    def _consistent(self) -> PreprocessingOptions:
        if len(set(self.channels)) != len(self.channels):
            raise ValueError(f"channels {list(self.channels)} repeat; name each channel once")
        if self.intensity_range is not None:
            low, high = self.intensity_range
            if self.intensity != "unit" or low >= high:
                raise ValueError(
                    f"intensity_range is {[low, high]} with intensity {self.intensity!r}; give the "
                    "smaller value first, and intensity 'unit', or leave it out"
                )
        if self.fill_missing not in (None, *self.channels):
            raise ValueError(
                f"fill_missing is {self.fill_missing!r}, but the channels are "
                f"{list(self.channels)}; choose one of them"
            )
        if problems := list(self._misfits_of_ranges()):
            raise ValueError("\n".join(problems))
        return self

    def _misfits_of_ranges(self) -> Iterator[str]:
        """Sentences on ranges by channel that cannot be."""
        for option in _LATER:
            for channel, (low, high) in getattr(self, option).items():
                if channel not in self.channels:
                    yield (
                        f"{option} names {channel!r}, but the channels are {list(self.channels)}; "
                        "choose one of them"
                    )
                if low >= high:
                    yield f"{option} of {channel} is {[low, high]}; give the smaller value first"
        if both := sorted(set(self.windows) & set(self.clip_percentiles)):
            yield f"windows and clip_percentiles both name {both}; give each channel one of them"
        if self.windows and self.intensity_range is not None:
            yield (
                "intensity_range is for all channels, and windows are for some; give windows for "
                "all, or leave one of the options out"
            )


class PreprocessingConfig(PreprocessingOptions):
    """All options of preprocessing; equal options give equal results for the same images."""

    spatial_dims: Literal[2, 3] = Field(
        3,
        description="dimensions of the network; 2: the spacing along S is kept",
    )

    @property
    def digest(self) -> str:
        """Hash of every option and of the version of the code: 64 hexadecimal digits."""
        unset = {name for name in _LATER if not getattr(self, name)}
        content = {"version": _VERSION, "options": self.model_dump(mode="json", exclude=unset)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def __hash__(self) -> int:
        return hash(self.digest)  # a mapping has no hash
