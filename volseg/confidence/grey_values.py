"""Numbers of the preprocessed grey values of a case: percentiles, roughness, correlations."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from volseg.confidence.traits import PERCENTILES
from volseg.images.background import Mask, subsampled

# Planes whose voxels are compared with their neighbours.
_PLANES = 12
# Voxels of which correlations are computed.
_RANKED = 10_000

Volume = npt.NDArray[np.floating[Any]]
Values = npt.NDArray[np.float32]


def grey_values(
    image: Volume, tissue: Mask, channels: Sequence[str], own: Sequence[str]
) -> dict[str, float]:
    """Numbers of the grey values by trait and channel.

    Args:
        image: Preprocessed images (C, I, J, K), 0 outside the tissue of each channel.
        tissue: Mask (I, J, K) of what is tissue in any channel.
        channels: Names of all channels.
        own: Those that the case has itself.
    """
    inside = subsampled(tissue)
    found: dict[str, float] = {}
    samples: dict[str, Values] = {}
    for volume, name in zip(image, channels, strict=True):
        if name not in own or not inside.any():
            continue
        sample = subsampled(volume)[inside].astype(np.float32)
        samples[name] = sample
        found |= {f"{trait}/{name}": value for trait, value in _of_sample(sample).items()}
        if roughness := _roughness(volume, tissue):
            found[f"roughness/{name}"] = roughness
    return found | _correlations(samples)


def _of_sample(sample: Values) -> dict[str, float]:
    """Share of the tissue that a channel covers, and percentiles of it."""
    held = sample[sample != 0]
    found = {"covered": held.size / sample.size}
    if held.size:
        at = np.percentile(held, PERCENTILES)
        found |= {f"p{n}": float(value) for n, value in zip(PERCENTILES, at, strict=True)}
    return found


def _roughness(volume: Volume, tissue: Mask) -> float:
    """Median difference of neighbours in a few axial planes, as share of the interquartile range.

    Noise makes it larger, and interpolation from fewer voxels makes it smaller. 0 if unknown.
    """
    used = np.flatnonzero(tissue.any(axis=(0, 1)))
    chosen = np.unique(used[np.linspace(0, used.size - 1, _PLANES + 2).astype(int)[1:-1]])
    planes = volume[:, :, chosen].astype(np.float32)
    within = tissue[:, :, chosen] & (planes != 0)
    steps = [abs(np.diff(planes, axis=axis))[_both(within, axis)] for axis in (0, 1)]
    values = planes[within]
    if not values.size:
        return 0.0
    low, high = np.percentile(values, (25, 75))
    differences = np.concatenate(steps)
    return float(np.median(differences) / (high - low)) if differences.size and high > low else 0.0


def _both(mask: Mask, axis: int) -> Mask:
    """Mask of the pairs of neighbours along an axis that both lie in a mask."""
    size = mask.shape[axis]
    first, second = (mask.take(range(start, size - 1 + start), axis) for start in (0, 1))
    return np.asarray(first & second)


def _correlations(samples: Mapping[str, Values]) -> dict[str, float]:
    """Spearman's correlation of each pair of channels that are not constant."""
    thinned = {name: sample[:: max(1, sample.size // _RANKED)] for name, sample in samples.items()}
    ranks = {name: stats.rankdata(of) for name, of in thinned.items() if of.min() < of.max()}
    return {
        f"correlation/{one} {two}": float(np.corrcoef(ranks[one], ranks[two])[0, 1])
        for one, two in itertools.combinations(ranks, 2)
    }
