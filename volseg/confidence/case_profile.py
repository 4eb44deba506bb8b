"""Numbers of a preprocessed case by which it is compared with the training cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, FiniteFloat

from volseg.confidence.grey_values import grey_values
from volseg.confidence.traits import SLICES
from volseg.files.documents import validated
from volseg.images.grid import Grid
from volseg.images.source_values import BackgroundKind, SourceValues

_AXES = "RAS"
_DIGITS = 4
# Tissue is thin at the end of a brain, and not where a brain is cut off.
_DEPTH_MM = 3.0


class Prepared(Protocol):
    """A preprocessed case; see `transforms.Preprocessed`."""

    @property
    def image(self) -> npt.NDArray[np.floating[Any]]:
        """Images (C, I, J, K), 0 outside the tissue."""

    @property
    def sources(self) -> Mapping[str, SourceValues]:
        """What the files hold, by channel."""

    @property
    def tissue(self) -> npt.NDArray[np.bool_]:
        """Mask (I, J, K) of what is tissue in any channel."""

    @property
    def image_grid(self) -> Grid:
        """Grid of the preprocessed images, axes pointing to R, A and S."""

    @property
    def scan_grid(self) -> Grid:
        """Grid of the source files."""


class _Schema(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    values: dict[str, FiniteFloat]
    backgrounds: dict[str, BackgroundKind]


@dataclass(frozen=True)
class CaseProfile:
    """Numbers of a case by trait and its part, such as `spacing_mm/S`; see `traits.TRAITS`.

    What the case does not have is left out: mm of a case without the size of a voxel, grey values
    of a channel that it lacks, the background where an option defines it.

    Attributes:
        values: Numbers.
        backgrounds: Kind of the background of each channel.
        background_values: Its value.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    backgrounds: Mapping[str, BackgroundKind] = field(default_factory=dict)
    background_values: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The part of the profile that `TrainingProfile` needs, as plain data for JSON."""
        return {"values": dict(self.values), "backgrounds": dict(self.backgrounds)}

    @classmethod
    def from_dict(cls, content: Any) -> Self:
        """The profile of `to_dict`; ValueError if it is another document."""
        known = validated(_Schema, content)
        return cls(known["values"], known["backgrounds"])


def profile_of(
    done: Prepared,
    channels: Sequence[str],
    missing: Sequence[str],
    *,
    has_size: bool,
    of_slices: bool,
) -> CaseProfile:
    """The profile of a preprocessed case.

    Args:
        done: The case.
        channels: Names of its channels.
        missing: Channels that it lacks.
        has_size: Whether the size of a voxel is known.
        of_slices: Whether the case is a stack of 2D images: then nothing along the stack counts,
            since a case may have any number of slices.
    """
    own = [name for name in channels if name not in missing]
    values = _of_slices(done, has_size) if of_slices else _of_volume(done)
    if has_size:
        values |= _spacing(done.scan_grid)
    for name, source in done.sources.items():
        of_file = {"scale": source.scale, "below": source.below, "at_highest": source.at_highest}
        values |= {f"{trait}/{name}": value for trait, value in of_file.items()}
    values |= grey_values(done.image, done.tissue, channels, own)
    return CaseProfile(
        {name: _rounded(number) for name, number in values.items()},
        {name: one.background for name, one in done.sources.items() if one.background},
        {name: one.value for name, one in done.sources.items() if one.background},
    )


def _spacing(grid: Grid) -> dict[str, float]:
    """Spacing of the source files along R, A and S."""
    spacing = np.array(grid.spacing_mm)[grid.ras_axes]
    return {f"spacing_mm/{axis}": float(mm) for axis, mm in zip(_AXES, spacing, strict=True)}


def _of_volume(done: Prepared) -> dict[str, float]:
    """Volume of the tissue; along each axis its extent, and how abruptly it ends."""
    found: dict[str, float] = {}
    for place, axis in enumerate(_AXES):
        others = tuple(other for other in range(3) if other != place)
        areas = np.count_nonzero(done.tissue, axis=others)
        if not areas.any():
            return found
        mm = done.image_grid.spacing_mm[place]
        low, high = _middle_part(areas)
        found[f"extent_mm/{axis}"] = (high - low) * mm
        found[f"end/{axis}"] = _end_share(areas, mm)
    found["tissue_ml"] = np.count_nonzero(done.tissue) * done.image_grid.voxel_ml
    return found


def _middle_part(areas: npt.NDArray[np.intp]) -> tuple[float, float]:
    """First and last plane between which 98 % of the tissue lies, in parts of planes."""
    below = np.concatenate([[0], np.cumsum(areas)]) / areas.sum()
    low, high = np.interp([0.01, 0.99], below, np.arange(below.size))
    return float(low), float(high)


def _end_share(areas: npt.NDArray[np.intp], mm: float) -> float:
    """Larger of the areas of tissue 3 mm inside both ends, as share of the largest area."""
    used = np.flatnonzero(areas)
    depth = min(int(_DEPTH_MM / mm), used.size // 2)
    ends = areas[used[0] + depth], areas[used[-1] - depth]
    return float(max(ends) / areas.max())


def _of_slices(done: Prepared, has_size: bool) -> dict[str, float]:
    """Number of slices, and area of the tissue in the slice that shows most of it."""
    slices = {SLICES: float(done.tissue.shape[2])}
    pixels = int(np.count_nonzero(done.tissue, axis=(0, 1)).max(initial=0))
    if not pixels:
        return slices
    i, j, _ = done.image_grid.spacing_mm
    area = pixels * i * j
    return slices | ({"area_cm2": area / 100} if has_size else {"area_pixels": area})


def _rounded(number: float) -> float:
    """A number to a few digits, so that a model file needs few bytes for it."""
    return float(f"{number:.{_DIGITS}g}")
