"""Uncertainty of single voxels, from the probability of a region."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import entr


def entropy(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Entropy of belonging to a region or not, in bits: from 0 (certain) to 1 (probability 0.5).

    It is a function of the probability alone: it says how close a voxel is to the border of the
    decision, and is as good as the calibration of the probabilities.

    Args:
        probabilities: Values from 0 to 1, any shape.

    Returns:
        float32 of the same shape.

    References:
        [1] Shannon, "A mathematical theory of communication", Bell System Technical Journal 27,
            1948. https://doi.org/10.1002/j.1538-7305.1948.tb01338.x

    Examples:
        >>> entropy(np.array([0.0, 0.25, 0.5, 1.0])).round(4).tolist()
        [0.0, 0.8112999796867371, 1.0, 0.0]
    """
    bits = (entr(probabilities) + entr(1 - probabilities)) / math.log(2)
    # Rounding gives a little more than 1 near 0.5.
    return np.minimum(bits, 1).astype(np.float32, copy=False)
