"""What is compared between a case and the training cases: numbers of its preprocessed images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, FiniteFloat

from volseg.files.documents import validated
from volseg.images.grid import Grid

_AXES = "RAS"
_DIGITS = 4


class Prepared(Protocol):
    """A preprocessed case; see `transforms.Preprocessed`."""

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


@dataclass(frozen=True)
class CaseProfile:
    """Numbers of a case by trait and its part, such as `spacing_mm/S`; see `traits.TRAITS`.

    A number that the case does not have is left out: mm of a case without the size of a voxel, grey
    values of a channel that it lacks.
    """

    values: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The profile as plain data for JSON."""
        return {"values": dict(self.values)}

    @classmethod
    def from_dict(cls, content: Any) -> Self:
        """The profile of `to_dict`; ValueError if it is another document."""
        return cls(validated(_Schema, content)["values"])


def profile_of(done: Prepared, *, has_size: bool, of_slices: bool) -> CaseProfile:
    """The profile of a preprocessed case.

    Args:
        done: The case.
        has_size: Whether the size of a voxel is known.
        of_slices: Whether the case is a stack of 2D images: then nothing along the stack counts,
            since a case may have any number of slices.
    """
    values = _size(done, of_slices=of_slices)
    if has_size:
        values |= _spacing(done.scan_grid)
    else:
        values = {name.replace("_mm/", "_pixels/"): number for name, number in values.items()}
    return CaseProfile({name: _rounded(number) for name, number in values.items()})


def _spacing(grid: Grid) -> dict[str, float]:
    """Spacing of the source files along R, A and S."""
    spacing = np.array(grid.spacing_mm)[grid.ras_axes]
    return {f"spacing_mm/{axis}": float(mm) for axis, mm in zip(_AXES, spacing, strict=True)}


def _size(done: Prepared, *, of_slices: bool) -> dict[str, float]:
    """Extent of the tissue along each axis, and its volume."""
    axes = _AXES[:2] if of_slices else _AXES
    found: dict[str, float] = {}
    for place, axis in enumerate(axes):
        others = tuple(other for other in range(3) if other != place)
        used = np.flatnonzero(done.tissue.any(axis=others))
        if used.size:
            planes = int(used[-1] - used[0]) + 1
            found[f"extent_mm/{axis}"] = planes * done.image_grid.spacing_mm[place]
    voxels = np.count_nonzero(done.tissue)
    if voxels and not of_slices:
        found["tissue_ml"] = voxels * done.image_grid.voxel_ml
    return found


def _rounded(number: float) -> float:
    """A number to a few digits, so that a model file needs few bytes for it."""
    return float(f"{number:.{_DIGITS}g}")
