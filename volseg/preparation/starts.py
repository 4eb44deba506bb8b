"""Places to start a registration from: those of the headers, of the centres, turned and shifted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from volseg.images.grid import Affine
from volseg.preparation.similarity import Samples

Point = npt.NDArray[np.float64]

# Turns about the axes to the right, the front and the top, in degrees. Heads nod most.
_TURNS = (
    *((0, 0, 0), (15, 0, 0), (-15, 0, 0), (30, 0, 0), (-30, 0, 0)),
    *((0, 15, 0), (0, -15, 0), (0, 0, 15), (0, 0, -15)),
)
# The centre of a head with its neck lies below that of its brain.
_RISES_MM = (-25.0, 0.0, 25.0, 50.0)
# A start that shows less of the moving image than this says little about its place.
_LEAST_OVERLAP = 0.2
# Starts closer than this, in mm at the surface of a brain, lead to the same place.
_APART_MM = 10.0


def best_starts(
    samples: Samples, centre: Point, centres: Sequence[Point], count: int
) -> list[Affine]:
    """The most similar starts that lie apart, best first; none if the images overlap at none.

    Args:
        samples: Coarse samples of both images.
        centre: Centre of the fixed image's foreground (RAS, mm).
        centres: Points of the moving image that may belong there.
        count: Number of starts.
    """
    scored = []
    for matrix in _candidates(centre, centres):
        found = samples.at(matrix)
        if found.overlap >= _LEAST_OVERLAP:
            scored.append((found.normalised, matrix))
    scored.sort(key=lambda each: -each[0])
    chosen: list[Affine] = []
    for _, matrix in scored:
        if all(_distance(samples, matrix, other) > _APART_MM for other in chosen):
            chosen.append(matrix)
        if len(chosen) == count:
            break
    return chosen


def turned(centre: Point, degrees: npt.ArrayLike, to: npt.ArrayLike) -> Affine:
    """Matrix (4, 4) that turns about `centre` and then moves `centre` to `to`."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler(
        "xyz", np.asarray(degrees, np.float64), degrees=True
    ).as_matrix()
    matrix[:3, 3] = np.array(to) - matrix[:3, :3] @ centre
    return matrix


def _candidates(centre: Point, centres: Sequence[Point]) -> Iterator[Affine]:
    yield from (turned(centre, degrees, centre) for degrees in _TURNS)
    for to, rise, degrees in itertools.product(centres, _RISES_MM, _TURNS):
        yield turned(centre, degrees, to + np.array((0.0, 0.0, rise)))


def _distance(samples: Samples, first: Affine, second: Affine) -> float:
    """Root mean square distance of the samples under two matrices, in mm."""
    apart = (first - second)[:3, :3] @ samples.points + (first - second)[:3, 3:]
    return float(np.sqrt((apart**2).sum(axis=0).mean()))
