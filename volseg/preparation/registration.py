"""Rigid or affine registration of two images of a head, of any contrast, grid and orientation.

SimpleITK maximises Mattes mutual information from coarse to fine [1]. Many starts are scored on
coarse images, and the best are refined. One thread a case and fixed seeds: equal images give an
equal matrix, also beside other cases.

[1] Mattes et al., "PET-CT image registration in the chest using free-form deformations",
    IEEE Trans Med Imaging 22(1), 2003. https://doi.org/10.1109/TMI.2003.809072
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from volseg.errors import RegistrationError
from volseg.images.grid import Affine, Grid
from volseg.preparation.foreground import Foreground, foreground_of
from volseg.preparation.optimising import Found, Kind, Search, level_of, optimised
from volseg.preparation.plausibility import (
    SURE_SIDES_PEAK,
    check_contrast,
    check_mirrored,
    check_similarity,
    check_transform,
    notes_on_similarity,
)
from volseg.preparation.quality import Quality, peak_of
from volseg.preparation.similarity import Samples
from volseg.preparation.starts import best_starts
from volseg.preparation.volume import Volume

Mask = npt.NDArray[np.bool_]

_COARSE = Search(mm=4, samples=60_000, step_mm=4, last_step_mm=0.05, steps=10, by_lines=True)
_FINE = (
    Search(mm=2, samples=60_000, step_mm=1, last_step_mm=0.005, steps=100),
    Search(mm=1, samples=100_000, step_mm=0.5, last_step_mm=0.002, steps=60),
)
_AFFINE = (
    Search(mm=4, samples=60_000, step_mm=1, last_step_mm=0.01, steps=150),
    Search(mm=2, samples=100_000, step_mm=0.5, last_step_mm=0.005, steps=100),
)
_STARTS = 3
# Samples that starts are scored with.
_SCORED = 8000
# The border of a brain or head is compared as well, with this much of what surrounds it.
_MARGIN_MM = 6.0


@dataclass(frozen=True, eq=False)
class Registration:
    """Where an image lies in the world of another.

    Attributes:
        matrix: (4, 4) from the world of the fixed image to that of the moving image (RAS, mm).
        kind: "rigid" or "affine".
        quality: Similarity before and after.
        seconds: Time of a core.
        notes: What the user should know, as sentences.
    """

    matrix: Affine
    kind: Kind
    quality: Quality
    seconds: float
    notes: tuple[str, ...] = ()


def register(
    moving: Volume,
    fixed: Volume,
    kind: Kind = "rigid",
    fixed_mask: Mask | None = None,
    seed: int = 0,
    *,
    same_head: bool = True,
) -> Registration:
    """Find where an image lies in the world of another.

    Args:
        moving: Image that is to be moved.
        fixed: Image that stays.
        kind: "rigid": rotation and shift; "affine": also scale and shear.
        fixed_mask: Voxels of the fixed image that are compared; None: its foreground.
        seed: Of the samples; other seeds show how far the result depends on them.
        same_head: Whether both images show one patient, and not a patient and an atlas. Two
            patients are then refused by `LEAST_PEAK`.

    Raises:
        RegistrationError: If an image has no contrast, the search does not converge, the images
            do not overlap or do not resemble each other, or the transform is implausible.
    """
    start = time.process_time()
    check_contrast(moving, "the moving image")
    check_contrast(fixed, "the fixed image")
    fore = foreground_of(moving), foreground_of(fixed)
    if fixed_mask is None and fore[0].is_stripped and not fore[1].is_stripped:
        # The brain of the stripped image says which voxels are to be compared.
        turned = register(fixed, moving, kind, fore[0].mask, seed, same_head=same_head)
        inverse = np.linalg.inv(turned.matrix).astype(np.float64)
        return replace(turned, matrix=inverse, seconds=time.process_time() - start)
    compared = fixed_mask if fixed_mask is not None else _compared(fixed, *fore)
    if not compared.any():
        raise RegistrationError(
            "the mask of the fixed image is empty, but its voxels are to be compared",
            remedy="give a mask of the brain",
        )
    pair = _Pair(moving, fixed, compared, seed)
    found = pair.refined(pair.coarse(fore[0]), kind)
    fine = Samples(fixed, compared, moving, 60_000, seed)
    quality = peak_of(fine, found.matrix, pair.centre)
    of_moving = _centre(moving.grid.affine, fore[0].mask)
    check_similarity(quality, same_head=same_head)
    check_transform(found.matrix, pair.centre, of_moving)
    if same_head:
        check_sides(moving, fixed, quality)
    notes = notes_on_similarity(quality) if same_head else ()
    return Registration(found.matrix, kind, quality, time.process_time() - start, notes)


def check_sides(moving: Volume, fixed: Volume, quality: Quality) -> None:
    """Refuse an image that would fit better if its left and right were exchanged.

    Only images that resemble each other little are compared, since it takes another registration.

    Args:
        moving: An image.
        fixed: The image that it was registered to.
        quality: Quality of their registration.

    Raises:
        RegistrationError: If the mirror image fits better.
    """
    if quality.peak >= SURE_SIDES_PEAK:
        return
    grid = moving.grid
    mirrored = Volume(moving.values, Grid(grid.shape, np.diag([-1.0, 1.0, 1.0, 1.0]) @ grid.affine))
    fore = foreground_of(mirrored), foreground_of(fixed)
    pair = _Pair(mirrored, fixed, _compared(fixed, *fore), seed=0)
    found = pair.refined(pair.coarse(fore[0]), "rigid")
    samples = Samples(fixed, pair.compared, mirrored, 60_000, pair.seed)
    check_mirrored(quality, peak_of(samples, found.matrix, pair.centre))


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two images and the voxels (I, J, K) of the fixed image that are compared."""

    moving: Volume
    fixed: Volume
    compared: Mask
    seed: int

    @property
    def centre(self) -> npt.NDArray[np.float64]:
        return _centre(self.fixed.grid.affine, self.compared)

    def coarse(self, moving: Foreground) -> Found:
        """The best place of several starts, on coarse images."""
        affine, shape = self.moving.grid.affine, np.array(self.moving.grid.shape)
        middle = affine[:3, :3] @ ((shape - 1) / 2) + affine[:3, 3]
        samples = Samples(self.fixed, self.compared, self.moving, _SCORED, self.seed)
        centres = [_centre(affine, moving.mask), middle]
        starts = best_starts(samples, self.centre, centres, _STARTS)
        if not starts:
            raise RegistrationError(
                "the images do not overlap at any start of the registration",
                remedy="check that both show the same head, and the positions in their headers",
            )
        level = level_of(self.moving, self.fixed, self.compared, _COARSE)
        found = [optimised(level, start, self.centre, "rigid", self.seed) for start in starts]
        return max(found, key=lambda each: each.information)

    def refined(self, found: Found, kind: Kind) -> Found:
        """A place refined on finer and finer images."""
        rigid = _FINE if kind == "rigid" else _FINE[:1]
        searches: list[tuple[Search, Kind]] = [(search, "rigid") for search in rigid]
        if kind == "affine":
            searches += [(search, "affine") for search in _AFFINE]
        for search, each in searches:
            level = level_of(self.moving, self.fixed, self.compared, search)
            found = optimised(level, found.matrix, self.centre, each, self.seed)
        return found


def _compared(fixed: Volume, of_moving: Foreground, of_fixed: Foreground) -> Mask:
    """Voxels of the fixed image to compare: its foreground, with its border if both have it."""
    if of_moving.is_stripped != of_fixed.is_stripped:
        return of_fixed.mask
    grown = of_fixed.mask
    for axis, mm in enumerate(fixed.grid.spacing_mm):
        reach = max(1, round(_MARGIN_MM / mm))
        grown = ndimage.maximum_filter1d(grown, 2 * reach + 1, axis=axis)
    return np.asarray(grown)


def _centre(affine: Affine, mask: Mask) -> npt.NDArray[np.float64]:
    """Centre of mass (3,) of a mask, in the world (RAS, mm)."""
    index = np.array(ndimage.center_of_mass(mask))
    centre: npt.NDArray[np.float64] = affine[:3, :3] @ index + affine[:3, 3]
    return centre
