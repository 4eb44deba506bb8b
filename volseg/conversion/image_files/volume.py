"""A volume in an image file, and the grid of files that do not say all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.config.section import SPACINGS_MM
from volseg.errors import ConfigError, GeometryError
from volseg.images.grid import Affine, Grid

#: World axis of RAS and sign of each letter of an orientation.
_LETTERS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
# The directions of an image in MetaImage and NRRD have length 1; rounding explains this difference.
_ROUNDING = 0.01


@dataclass(frozen=True)
class ImageVolume:
    """A volume in a file, whose voxels are not read yet.

    Attributes:
        files: Files that hold it.
        grid: Grid of the array that `load` returns, in RAS.
        load: Reads the grey values (I, J, K).
        load_labels: Reads the same voxels as labels, uint8.
        notes: Assumptions.
        is_label: Whether the file itself says that its voxels are labels.
    """

    files: tuple[Path, ...]
    grid: Grid
    load: Callable[[], npt.NDArray[Any]]
    load_labels: Callable[[], npt.NDArray[np.uint8]]
    notes: tuple[str, ...] = ()
    is_label: bool = False


@dataclass(frozen=True)
class Assumed:
    """What holds for files that do not say it.

    Attributes:
        spacing_mm: Size of a voxel along the three axes of the array; None: refuse such files.
        orientation: Directions of the axes, such as LPS; None: as the format has it.

    Raises:
        ConfigError: If a size is impossible, or the letters do not name three axes.
    """

    spacing_mm: tuple[float, ...] | None = None
    orientation: str | None = None

    def __post_init__(self) -> None:
        if self.spacing_mm is not None and not _is_spacing(self.spacing_mm):
            given = ",".join(f"{mm:g}" for mm in self.spacing_mm)
            raise ConfigError(
                f"--spacing is {given}, expected three numbers from {SPACINGS_MM[0]:g} to "
                f"{SPACINGS_MM[1]:g}",
                remedy="give the size of a voxel in mm",
            )
        if self.orientation is not None and not is_orientation(self.orientation):
            raise ConfigError(
                f"--orientation is {self.orientation!r}, expected one letter each of R or L, A or "
                "P, and S or I",
                remedy="give the directions in which the axes of the array run, such as LPS",
            )

    def oriented(self, usual: str, by: str) -> tuple[str, str]:
        """Orientation of a file that does not say it, and the note on that.

        Args:
            usual: Orientation unless the user gives another.
            by: Who uses `usual`, such as "as ITK does".
        """
        if self.orientation is not None:
            return self.orientation, f"the file says no orientation: {self.orientation}, as given"
        return usual, f"the file says no orientation: {usual} assumed, {by}"


def is_orientation(letters: str) -> bool:
    """Whether letters name the directions of three axes.

    >>> is_orientation("LPS"), is_orientation("LRS"), is_orientation("lps")
    (True, False, False)
    """
    return sorted(_LETTERS.get(letter, (9, 0))[0] for letter in letters) == [0, 1, 2]


def directions(orientation: str) -> Affine:
    """Unit vectors (3, 3) of the axes in RAS, by column."""
    matrix = np.zeros((3, 3))
    for column, letter in enumerate(orientation):
        axis, sign = _LETTERS[letter]
        matrix[axis, column] = sign
    return matrix


def affine_of(steps: npt.NDArray[np.float64], origin: Sequence[float]) -> Affine:
    """Affine (4, 4) of steps from voxel to voxel (3, 3) by column, and of the first voxel."""
    affine: Affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = steps, origin
    return affine


def checked_directions(
    found: npt.NDArray[np.float64], where: str, name: str
) -> npt.NDArray[np.float64]:
    """Directions (3, 3) by column; GeometryError unless each has length 1."""
    lengths = np.linalg.norm(found, axis=0)
    if not (abs(lengths - 1) <= _ROUNDING).all():
        said = ", ".join(f"{length:.3g}" for length in lengths)
        raise GeometryError(
            f"{where} has directions of length {said} in its {name}, but 1 is expected",
            remedy="correct its header, or export it again",
        )
    return found


def checked_grid(shape: Sequence[int], affine: Affine, where: str) -> Grid:
    """Grid of a file; GeometryError if no head lies on it."""
    i, j, k = (int(size) for size in shape)
    grid = Grid((i, j, k), affine)
    if not np.isfinite(affine).all() or grid.is_degenerate:
        raise GeometryError(
            f"{where} has a degenerate geometry {affine[:3].round(4).tolist()}, but its three axes "
            "must span a volume",
            remedy="correct its header, or export it again",
        )
    if not _is_spacing(grid.spacing_mm):
        said = " x ".join(f"{mm:.4g}" for mm in grid.spacing_mm)
        raise GeometryError(
            f"{where} has voxels of {said} mm, but {SPACINGS_MM[0]:g} to {SPACINGS_MM[1]:g} mm are "
            "expected",
            remedy="correct its header, or export it again",
        )
    return grid


def no_spacing(where: str) -> GeometryError:
    """Error for a file that does not say the size of its voxels."""
    return GeometryError(
        f"{where} does not say the size of its voxels",
        remedy="give it in mm, such as --spacing 0.5,0.5,3",
    )


def _is_spacing(spacing_mm: Sequence[float]) -> bool:
    return len(spacing_mm) == 3 and all(SPACINGS_MM[0] <= mm <= SPACINGS_MM[1] for mm in spacing_mm)
