"""How well two images fit each other where their registration ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from volseg.images.grid import Affine
from volseg.preparation.similarity import Samples
from volseg.preparation.starts import turned

# Displacements that belong to other places for certain: mm along an axis, degrees about an axis.
_AWAY_MM, _AWAY_DEGREES = 12.0, 12.0


@dataclass(frozen=True)
class Quality:
    """How well two images fit each other, before and after their registration.

    Attributes:
        before: Normalised mutual information where the headers place the images, from 1 to 2.
        after: The same after registration.
        away: Mean of the same at twelve places 12 mm or 12 degrees away: what two heads share by
            chance and by their outline.
        overlap: Share of the compared voxels that lie inside the moving image.
    """

    before: float
    after: float
    away: float
    overlap: float

    @property
    def peak(self) -> float:
        """Share of the mutual information that is lost away from the place found, 0 to 1."""
        return (self.after - self.away) / (self.after - 1) if self.after > 1 else 0.0

    def figures(self) -> dict[str, float]:
        """The figures by name, for records."""
        return {**asdict(self), "peak": self.peak}


def peak_of(samples: Samples, matrix: Affine, centre: npt.NDArray[np.float64]) -> Quality:
    """Quality of a place.

    Args:
        samples: Samples of both images.
        matrix: (4, 4) from the fixed to the moving world (RAS, mm).
        centre: Centre (3,) of the fixed image's foreground, that turns are about.
    """
    away = [samples.at(matrix @ move).normalised for move in _moves(centre)]
    found = samples.at(matrix)
    return Quality(
        samples.at(np.eye(4)).normalised, found.normalised, float(np.mean(away)), found.overlap
    )


def _moves(centre: npt.NDArray[np.float64]) -> list[Affine]:
    signed = [sign * unit for sign in (-1, 1) for unit in np.eye(3)]
    return [
        *(turned(centre, (0, 0, 0), centre + _AWAY_MM * unit) for unit in signed),
        *(turned(centre, _AWAY_DEGREES * unit, centre) for unit in signed),
    ]
