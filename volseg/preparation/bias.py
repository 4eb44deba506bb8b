"""Removal of the bias field of a receiver coil by N4."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from volseg.preparation.itk import array_of, image_of, simpleitk
from volseg.preparation.volume import Volume

# The field is smooth, so it is estimated on voxels of about this size.
_WORK_MM = 4.0


@dataclass(frozen=True, eq=False)
class BiasCorrection:
    """A corrected image.

    Attributes:
        values: float32 (I, J, K); unchanged outside the mask's foreground where values are <= 0.
        seconds: Time of a core.
    """

    values: npt.NDArray[np.float32]
    seconds: float


def without_bias(volume: Volume, mask: npt.NDArray[np.bool_] | None = None) -> BiasCorrection:
    """An image without its bias field, estimated by N4 within a mask. [1]

    Args:
        volume: Image of a head.
        mask: Voxels that the field is estimated from; None: all positive values above the mean.

    References:
        [1] Tustison et al., "N4ITK: improved N3 bias correction", IEEE Trans Med Imaging 29(6),
            2010. https://doi.org/10.1109/TMI.2010.2046908
    """
    start = time.process_time()
    sitk = simpleitk()
    values = volume.values.astype(np.float32)
    inside = (values > values.mean() if mask is None else mask) & (values > 0)
    factors = [
        max(1, min(math.floor(_WORK_MM / mm), size // 8))
        for mm, size in zip(volume.grid.spacing_mm, values.shape, strict=True)
    ]
    image = image_of(Volume(values, volume.grid))
    method = sitk.N4BiasFieldCorrectionImageFilter()
    method.SetNumberOfThreads(1)
    method.Execute(
        sitk.Shrink(image, factors), sitk.Shrink(image_of(Volume(inside, volume.grid)), factors)
    )
    field = np.exp(array_of(method.GetLogBiasFieldAsImage(image)))
    corrected = np.where(values > 0, values / field, values).astype(np.float32)
    return BiasCorrection(corrected, time.process_time() - start)
