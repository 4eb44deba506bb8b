"""One level of a registration: SimpleITK moves an image to the highest mutual information."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from volseg.errors import RegistrationError
from volseg.images.grid import Affine
from volseg.preparation.foreground import shrink_factors
from volseg.preparation.itk import image_of, in_other_world, matrix_of, simpleitk
from volseg.preparation.volume import Volume

Kind = Literal["rigid", "affine"]
_BINS = 32
# A change of one radian moves the surface of a brain by about this many mm.
_RADIUS_MM = 80.0


@dataclass(frozen=True)
class Search:
    """How one level is searched.

    Attributes:
        mm: Size of its voxels.
        samples: Number of voxels that are compared.
        step_mm: First step.
        last_step_mm: The search ends with this step.
        steps: Largest number of steps.
        by_lines: Along one parameter after the other (Powell), which reaches far; else downhill.
    """

    mm: float
    samples: int
    step_mm: float
    last_step_mm: float
    steps: int
    by_lines: bool = False


@dataclass(frozen=True, eq=False)
class Level:
    """Images of SimpleITK with the same size of voxels, and the mask of the fixed image."""

    moving: Any
    fixed: Any
    mask: Any
    search: Search


@dataclass(frozen=True, eq=False)
class Found:
    """The place that a search ended at, and mutual information there, in nats."""

    matrix: Affine
    information: float


def level_of(moving: Volume, fixed: Volume, mask: npt.NDArray[np.bool_], search: Search) -> Level:
    """Both images with larger voxels, each the mean of those it holds."""
    sitk = simpleitk()
    share = sitk.BinShrink(
        image_of(Volume(mask.astype(np.float32), fixed.grid)), shrink_factors(fixed, search.mm)
    )
    return Level(_shrunk(moving, search.mm), _shrunk(fixed, search.mm), share >= 0.5, search)


def optimised(
    level: Level, start: Affine, centre: npt.NDArray[np.float64], kind: Kind, seed: int
) -> Found:
    """The place of highest mutual information near a start.

    Args:
        level: Images.
        start: (4, 4) from the world of the fixed to that of the moving image (RAS, mm).
        centre: Point (3,) that rotations turn about, in the world of the fixed image.
        kind: "rigid" or "affine".
        seed: Of the samples.

    Raises:
        RegistrationError: If the images do not overlap at the start or during the search.
    """
    method = _method(level, seed)
    method.SetInitialTransform(_transform(start, centre, kind), inPlace=True)
    try:
        found = method.Execute(level.fixed, level.moving)
    except RuntimeError as error:
        raise RegistrationError(
            f"the search for the place of the image failed: {_last_line(error)}",
            remedy="check that both images show the same head",
        ) from None
    return Found(matrix_of(found), -float(method.GetMetricValue()))


def _method(level: Level, seed: int) -> Any:
    """SimpleITK's registration with the metric, samples and optimiser of a level."""
    sitk, search = simpleitk(), level.search
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricFixedMask(level.mask)
    share = search.samples / max(1, int(sitk.GetArrayViewFromImage(level.mask).sum()))
    if share < 1:
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(share, seed + 1)  # 0 is the time of the clock
    if search.by_lines:
        method.SetOptimizerAsPowell(
            search.steps, 20, stepLength=search.step_mm, stepTolerance=search.last_step_mm
        )
        method.SetOptimizerScales([_RADIUS_MM] * 3 + [1.0] * 3)
    else:
        method.SetOptimizerAsRegularStepGradientDescent(
            search.step_mm, search.last_step_mm, search.steps, 0.8, 1e-8
        )
        method.SetOptimizerScalesFromPhysicalShift()
    return method


def _shrunk(volume: Volume, mm: float) -> Any:
    return simpleitk().BinShrink(image_of(volume), shrink_factors(volume, mm))


def _transform(matrix: Affine, centre: npt.NDArray[np.float64], kind: Kind) -> Any:
    """Transform of SimpleITK in LPS, about a centre."""
    sitk = simpleitk()
    turned = in_other_world(matrix)
    about = centre * (-1, -1, 1)
    transform = sitk.Euler3DTransform() if kind == "rigid" else sitk.AffineTransform(3)
    transform.SetCenter(about.tolist())
    transform.SetMatrix(turned[:3, :3].ravel().tolist())
    transform.SetTranslation((turned[:3, :3] @ about + turned[:3, 3] - about).tolist())
    return transform


def _last_line(error: RuntimeError) -> str:
    """What ITK says, without its address in memory."""
    return str(error).strip().splitlines()[-1].rpartition("): ")[2].strip().rstrip(".")
