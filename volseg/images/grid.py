"""Grid of an image (shape and affine), grids derived from it, and comparison of grids."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import nibabel as nib
import numpy as np
import numpy.typing as npt

from volseg.errors import GeometryError

Affine = npt.NDArray[np.float64]
Number = TypeVar("Number", bound=np.generic)

# Two axes are perpendicular if the cosine of their angle is at most this (float32 rounding).
_PERPENDICULAR = 1e-4
# The axes of a voxel span no volume if it fills less than this share of a box with its edges.
_FLAT = 1e-3
# Ratios of spacings are rounded to the nearest fraction with a denominator up to this.
_DENOMINATOR = 1000
_KEPT = 0.01  # a spacing that differs by at most this share is kept
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of an image lie.

    Two grids are equal if their shapes are equal and their affines are equal to the last bit;
    `notes` do not count. `check_same_grid` tolerates rounding errors.

    Attributes:
        shape: Voxels along each axis.
        affine: Matrix (4, 4) from voxel indices to world coordinates (RAS, mm).
        notes: Assumptions where the header is incomplete.
    """

    shape: tuple[int, int, int]
    affine: Affine
    notes: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return self.shape == other.shape and np.array_equal(self.affine, other.affine)

    def __hash__(self) -> int:
        return hash(self.shape)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along each axis, in mm."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def shape_in_words(self) -> str:
        """Voxels along each axis, such as `256 x 256 x 26`."""
        return " x ".join(map(str, self.shape))

    @property
    def spacing_in_words(self) -> str:
        """Spacing in mm to three digits, such as `0.938 x 0.938 x 5.5`."""
        return " x ".join(f"{mm:.3g}" for mm in self.spacing_mm)

    @property
    def steps_mm(self) -> npt.NDArray[np.float64]:
        """Steps from voxel to voxel in mm: (3,), or (3, 3) by column if axes are not perpendicular.

        The axes of most grids are perpendicular. Those of a sheared affine are not, and distances
        between its voxels do not follow from the spacing alone.
        """
        steps, spacing = self.affine[:3, :3], np.array(self.spacing_mm)
        cosines = (steps.T @ steps) / np.outer(spacing, spacing) - np.eye(3)
        return steps if abs(cosines).max() > _PERPENDICULAR else spacing

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel, in ml."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def is_degenerate(self) -> bool:
        """Whether the affine holds NaN or infinity, or its three axes span no volume."""
        spacing = np.array(self.spacing_mm)
        # The share is 1 if the axes are perpendicular.
        with np.errstate(divide="ignore", invalid="ignore"):
            share = abs(np.linalg.det(self.affine[:3, :3] / spacing))
        return not (np.isfinite(self.affine).all() and spacing.all() and share > _FLAT)

    @property
    def orientation(self) -> str:
        """Nearest directions of the axes, such as LPS: left, posterior, superior."""
        return "".join(nib.aff2axcodes(self.affine))

    @property
    def axial_axis(self) -> int:
        """The axis (0 to 2) along which axial slices are stacked."""
        return int(self.ras_axes[2])

    @property
    def ras_axes(self) -> npt.NDArray[np.intp]:
        """Numbers (3,) of the axes along R or L, along A or P, and along S or I."""
        return np.argsort(self._turns[:, 0])

    @property
    def ras_signs(self) -> npt.NDArray[np.float64]:
        """Signs (3,): 1 for each axis of the image that points to R, A or S, -1 for the others."""
        return self._turns[:, 1]

    @property
    def _turns(self) -> npt.NDArray[np.float64]:
        return np.asarray(nib.orientations.io_orientation(self.affine))

    @property
    def ras(self) -> Grid:
        """Grid of an image after `to_ras`."""
        i, j, k = (self.shape[axis] for axis in self.ras_axes)
        turned = nib.orientations.inv_ornt_aff(self._turns, self.shape)
        return Grid((i, j, k), np.asarray(self.affine @ turned))

    def to_ras(self, array: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """View of an array (I, J, K) whose axes point to R, A and S, or nearest to these."""
        turned: npt.NDArray[Number] = nib.orientations.apply_orientation(array, self._turns)
        return turned

    def crop(self, box: Sequence[slice]) -> Grid:
        """Grid of a box, given as a slice along each axis."""
        i, j, k = (axis.stop - axis.start for axis in box)
        return Grid((i, j, k), self.affine @ scaling((1, 1, 1), [axis.start for axis in box]))

    def spacing_ratios(
        self, spacing_mm: Sequence[float], spatial_dims: int
    ) -> npt.NDArray[np.float64]:
        """Ratios of wanted spacing to spacing, along R, A and S; 1 where the spacing is kept.

        Headers hold about seven digits, and oblique grids fewer, so ratios are rounded to simple
        fractions: the same voxels then give the same image under each of these headers.

        Args:
            spacing_mm: Wanted spacing along R, A and S.
            spatial_dims: 2 keeps the spacing along S.
        """
        spacing = np.array(self.spacing_mm)[self.ras_axes]
        found = [
            float(Fraction(float(of)).limit_denominator(_DENOMINATOR))
            if of > 1 / _DENOMINATOR
            else of
            for of in np.asarray(spacing_mm) / spacing
        ]
        ratio = np.array(found, np.float64)
        ratio[abs(ratio - 1) <= _KEPT + _NEGLIGIBLE] = 1
        ratio[spatial_dims:] = 1
        return ratio

    def resampled(self, spacing_mm: Sequence[float], spatial_dims: int = 3) -> Grid:
        """The RAS grid of the wanted spacing that covers this grid; see `spacing_ratios`."""
        ras = self.ras
        ratio = self.spacing_ratios(spacing_mm, spatial_dims)
        # Both grids share the outer edge of the first voxel, so two voxels that become one give
        # their mean, whatever the size of the crop. The last voxel may reach beyond the old grid.
        i, j, k = (math.ceil(size / r - 0.01) for size, r in zip(ras.shape, ratio, strict=True))
        return Grid((i, j, k), ras.affine @ scaling(ratio.tolist(), ((ratio - 1) / 2).tolist()))

    def in_voxels_of(self, other: Grid) -> Affine:
        """Matrix (4, 4) from voxel indices of this grid to those of `other`."""
        matrix: Affine = np.linalg.inv(other.affine) @ self.affine
        return matrix

    def displacement_mm(self, other: Grid) -> float:
        """Largest distance in mm between the corners of this grid and one of equal shape."""
        edges = [(-0.5, size - 0.5) for size in self.shape]
        corners = np.array([(*corner, 1) for corner in itertools.product(*edges)])
        differences = corners @ (self.affine - other.affine).T
        return float(np.linalg.norm(differences[:, :3], axis=1).max())


def ras_from_lps(affine: Affine) -> Affine:
    """The affine to world coordinates in RAS of an affine to LPS, as in ITK and DICOM."""
    turned: Affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return turned


def scaling(factors: Sequence[float], offsets: Sequence[float]) -> Affine:
    """Matrix (4, 4) that multiplies each axis by a factor and then adds an offset."""
    matrix = np.diag([*factors, 1.0]).astype(np.float64)
    matrix[:3, 3] = offsets
    return matrix


def check_same_grid(grids: Mapping[str, Grid], tolerance_mm: float = 0.01) -> list[str]:
    """Compare grids, given by name, with the first grid.

    Args:
        grids: At least one.
        tolerance_mm: Largest accepted displacement of a corner of the volume.

    Returns:
        A note for each grid that differs by at most the tolerance.

    Raises:
        GeometryError: If a grid differs in shape, or by more than the tolerance.
    """
    (first, reference), *others = grids.items()
    notes = []
    for name, grid in others:
        if grid.shape != reference.shape:
            raise GeometryError(
                f"{name} has shape {grid.shape}, but {first} has {reference.shape}",
                remedy="co-register the images of a case first: volseg prepare CASES -o prepared",
            )
        distance = grid.displacement_mm(reference)
        if distance > tolerance_mm:
            raise GeometryError(
                f"{name} lies {distance:.3g} mm away from {first}, but at most {tolerance_mm:g} "
                "mm is accepted",
                remedy="co-register the images of a case first: volseg prepare CASES -o prepared",
            )
        if distance > 0:
            notes.append(f"{name} lies {distance:.2g} mm away from {first}: accepted")
    return notes


def is_same_grid(grid: Grid, other: Grid) -> bool:
    """Whether `check_same_grid` accepts two grids."""
    try:
        check_same_grid({"first": grid, "second": other})
    except GeometryError:
        return False
    return True
