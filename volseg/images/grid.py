"""Where voxels lie: the grid of an image, and whether two images share one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import numpy.typing as npt

from volseg.errors import GeometryError

# Cosine of the angle of two axes, up to which it is a right one, as rounded in float32.
_PERPENDICULAR = 1e-4


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of an image lie.

    Attributes:
        shape: Voxels along each axis.
        affine: Voxel indices to world (RAS, mm), (4, 4).
        notes: What its header leaves open and had to be assumed.
    """

    shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]
    notes: tuple[str, ...] = ()

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along each axis, in mm."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def steps_mm(self) -> npt.NDArray[np.float64]:
        """Steps from voxel to voxel in mm: (3,), or (3, 3) by column, where axes are oblique.

        Most grids are turned at most, and their axes are perpendicular; those of a sheared affine
        are not, and two voxels then are not as far apart as their spacing makes believe.
        """
        steps, spacing = self.affine[:3, :3], np.array(self.spacing_mm)
        cosines = (steps.T @ steps) / np.outer(spacing, spacing) - np.eye(3)
        return steps if abs(cosines).max() > _PERPENDICULAR else spacing

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel, in ml."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000


def orientation(grid: Grid) -> npt.NDArray[np.float64]:
    """How axes are turned to go right, forward and up: for each its new place and 1 or -1."""
    return np.asarray(nib.orientations.io_orientation(grid.affine))


def check_same_grid(grids: Mapping[str, Grid], tolerance_mm: float = 0.01) -> list[str]:
    """Compare grids, given by name, with the first one.

    Args:
        grids: At least one.
        tolerance_mm: How far a corner of the volume may be displaced.

    Returns:
        A sentence for each grid that differs, but by no more than the tolerance.

    Raises:
        GeometryError: If a grid differs in shape, or by more than the tolerance.
    """
    (first, reference), *others = grids.items()
    notes = []
    for name, grid in others:
        if grid.shape != reference.shape:
            raise GeometryError(
                f"{name} has shape {grid.shape}, but {first} has {reference.shape}",
                remedy="co-register the images of a case first",
            )
        distance = displacement_mm(grid.shape, grid.affine, reference.affine)
        if distance > tolerance_mm:
            raise GeometryError(
                f"{name} lies {distance:.3g} mm away from {first}, but at most {tolerance_mm:g} "
                "mm is accepted",
                remedy="co-register the images of a case first",
            )
        if distance > 0:
            notes.append(f"{name} lies {distance:.2g} mm away from {first}: accepted")
    return notes


def displacement_mm(
    shape: tuple[int, int, int],
    affine: npt.NDArray[np.float64],
    other: npt.NDArray[np.float64],
) -> float:
    """Largest distance between the same corner of a volume under two affines."""
    edges = [(-0.5, size - 0.5) for size in shape]
    corners = np.array([(*corner, 1) for corner in itertools.product(*edges)])
    differences = corners @ (affine - other).T
    return float(np.linalg.norm(differences[:, :3], axis=1).max())
