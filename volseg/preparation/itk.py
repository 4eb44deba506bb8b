"""Volumes and matrices as objects of SimpleITK, which counts in LPS, and back."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.errors import RegistrationError
from volseg.images.grid import Affine, ras_from_lps
from volseg.preparation.volume import Volume


def simpleitk() -> ModuleType:
    """The module SimpleITK, 50 MB, which only some commands need, with one thread."""
    try:
        import SimpleITK
    except ImportError:
        raise RegistrationError(
            "SimpleITK is not installed, but registration and bias correction need it",
            remedy="pip install simpleitk",
        ) from None
    # The metric has threads of its own, which add up in another order each time.
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # type: ignore[no-untyped-call]
    return SimpleITK


def image_of(volume: Volume) -> Any:
    """Image of SimpleITK with float32 values, or uint8 for a mask."""
    values, grid = volume
    kind = np.uint8 if values.dtype == np.bool_ else np.float32
    image = simpleitk().GetImageFromArray(np.ascontiguousarray(values.T, kind))
    affine = ras_from_lps(grid.affine)
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / grid.spacing_mm).ravel().tolist())
    return image


def array_of(image: Any) -> npt.NDArray[Any]:
    """Values (I, J, K) of an image of SimpleITK."""
    array: npt.NDArray[Any] = simpleitk().GetArrayFromImage(image).T
    return array


def matrix_of(transform: Any) -> Affine:
    """Matrix (4, 4) in RAS of a linear transform of SimpleITK, whichever its kind."""
    corner = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(transform.TransformPoint(tuple(unit))) - corner for unit in np.eye(3)]
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(columns).T
    matrix[:3, 3] = corner
    return in_other_world(matrix)


def in_other_world(matrix: Affine) -> Affine:
    """A matrix between LPS worlds as one between RAS worlds, or the reverse."""
    return ras_from_lps(ras_from_lps(matrix).T).T
