"""The channels of a case in the world of its reference channel."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from volseg.errors import GeometryError, RegistrationError
from volseg.images.background import background_of, tissue_of
from volseg.images.grid import Affine, Grid, check_same_grid
from volseg.preparation.record import Alignment
from volseg.preparation.registration import register
from volseg.preparation.volume import Volume

# A channel on the grid of the reference is aligned if moving it by so much, along or around any
# axis, makes the images less alike.
_STEP_MM, _STEP_DEGREES = 1.5, 1.5
# Voxels that are compared, and bins of the joint histogram.
_SAMPLES, _BINS = 60_000, 48


@dataclass(frozen=True, eq=False)
class Aligned:
    """A channel in the world of the reference channel.

    Attributes:
        matrix: (4, 4) from the world of the reference to that of the channel (RAS, mm).
        alignment: How it was found.
        quality: Figures of that, by name.
        moved_mm: Mean distance between where the header and where the matrix place the head.
        seconds: Duration.
        notes: What the user should know.
    """

    matrix: Affine
    alignment: Alignment
    quality: Mapping[str, float]
    moved_mm: float
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def in_words(self) -> str:
        """What was done, with figures."""
        here = self.quality.get("mutual_information", 0.0)
        if self.alignment != "registered":
            figure = f" (mutual information {here:.3f})" if self.quality else ""
            return f"{self.alignment}{figure}"
        before = self.quality.get("mutual_information_before", 0.0)
        return f"moved by {self.moved_mm:.1f} mm, mutual information {before:.3f} to {here:.3f}"


def aligned(name: str, channel: Volume, reference: Volume) -> Aligned:
    """Where a channel lies in the world of the reference channel.

    A channel on the grid of the reference stays as it is if it lies within about 1 mm already.

    Args:
        name: Name of the channel.
        channel: Its values and grid.
        reference: Those of the reference channel.

    Raises:
        RegistrationError: As in `register`, naming the channel.
    """
    start = time.monotonic()
    if _same_grid(channel.grid, reference.grid):
        here, best = likeness(channel, reference)
        if here >= best:
            quality = {"mutual_information": here, "next_best": best}
            return Aligned(np.eye(4), "already aligned", quality, 0.0, time.monotonic() - start)
    try:
        found = register(channel, reference)
    except RegistrationError as error:
        raise RegistrationError(f"{name}: {error.problem}", remedy=error.remedy) from None
    quality = {
        "mutual_information_before": found.quality.before,
        "mutual_information": found.quality.after,
        "overlap": found.quality.overlap,
    }
    moved = moved_mm(found.matrix, reference)
    seconds = time.monotonic() - start
    return Aligned(found.matrix, "registered", quality, moved, seconds, found.notes)


def likeness(channel: Volume, reference: Volume) -> tuple[float, float]:
    """Mutual information of two images where they lie, and the largest where one is moved a bit.

    The moves are by 1.5 mm along and by 1.5 degrees around each axis, in both directions. [1]

    Args:
        channel: An image.
        reference: Another one, which is sampled within its box of tissue.

    Returns:
        Mutual information in nats.

    References:
        [1] Maes et al., "Multimodality image registration by maximization of mutual information",
            IEEE Trans Med Imaging 16(2), 1997. https://doi.org/10.1109/42.563664
    """
    places = _sample_places(reference)
    still = _values_at(reference, places, np.eye(4))
    centre = places.mean(axis=1)[:3]
    # A little smoothing makes the maximum that of the anatomy, not that of equal interpolation.
    smooth = Volume(_smoothed(channel), channel.grid)
    here = _information(still, _values_at(smooth, places, np.eye(4)))
    moved = (_information(still, _values_at(smooth, places, move)) for move in _moves(centre))
    return here, max(moved)


def moved_mm(matrix: Affine, reference: Volume) -> float:
    """Mean distance that a matrix moves the tissue of an image, in mm."""
    places = _sample_places(reference)
    return float(np.linalg.norm((matrix @ places - places)[:3], axis=0).mean())


def _same_grid(grid: Grid, other: Grid) -> bool:
    try:
        check_same_grid({"reference": other, "channel": grid})
    except GeometryError:
        return False
    return True


def _sample_places(reference: Volume) -> npt.NDArray[np.float64]:
    """World coordinates (4, N) of a sample of the tissue of an image and its surroundings."""
    values, grid = reference
    tissue = tissue_of(values, background_of(values))
    inside = ndimage.binary_dilation(tissue, iterations=2) if tissue.any() else ~tissue
    found = np.flatnonzero(inside)
    # A prime step does not follow the rows of an image.
    step = max(1, math.ceil(len(found) / _SAMPLES))
    indices = np.array(np.unravel_index(found[::step], values.shape), np.float64)
    return np.asarray(grid.affine @ np.vstack([indices, np.ones(indices.shape[1])]))


def _smoothed(volume: Volume) -> npt.NDArray[np.float32]:
    sigmas = [0.7 / mm for mm in volume.grid.spacing_mm]
    smooth: npt.NDArray[np.float32] = ndimage.gaussian_filter(
        volume.values.astype(np.float32), sigmas
    )
    return smooth


def _values_at(
    volume: Volume, places: npt.NDArray[np.float64], matrix: Affine
) -> npt.NDArray[np.float32]:
    """Values (N,) at world coordinates that a matrix moves."""
    indices = (np.linalg.inv(volume.grid.affine) @ matrix @ places)[:3]
    found: npt.NDArray[np.float32] = ndimage.map_coordinates(
        volume.values.astype(np.float32, copy=False), indices, order=1, mode="nearest"
    )
    return found


def _moves(centre: npt.NDArray[np.float64]) -> list[Affine]:
    """Shifts along and turns around each axis, in both directions, about a centre."""
    moves = []
    angle = math.radians(_STEP_DEGREES)
    for axis, sign in itertools.product(range(3), (-1, 1)):
        shift = np.eye(4)
        shift[axis, 3] = sign * _STEP_MM
        turn = np.eye(4)
        a, b = (other for other in range(3) if other != axis)
        turn[[a, a, b, b], [a, b, a, b]] = (
            *(math.cos(angle), -sign * math.sin(angle)),
            *(sign * math.sin(angle), math.cos(angle)),
        )
        turn[:3, 3] = centre - turn[:3, :3] @ centre
        moves += [shift, turn]
    return moves


def _information(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """Mutual information of two samples, in nats."""
    counts, *_ = np.histogram2d(_binned(first), _binned(second), bins=_BINS, range=_RANGE)
    joint = counts / counts.sum()
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    held = joint > 0
    return float((joint[held] * np.log(joint[held] / apart[held])).sum())


_RANGE = ((0.0, 1.0), (0.0, 1.0))


def _binned(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Values from 0 to 1 between percentiles, so that few bright voxels do not take all bins."""
    low, high = np.percentile(values, [0.5, 99.5])
    return np.clip((values - low) / max(float(high - low), 1e-6), 0, 1)
