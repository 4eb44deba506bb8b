"""What an official protocol finds in one region of a case: scores, lesions, false positives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Lesion:
    """A lesion of the reference, and its score.

    Attributes:
        volume_mm3: Its volume in mm3.
        n_predicted: Number of predicted components that belong to it; 0 if it was missed.
        dice: Dice of the lesion and those components.
        hd95_mm: HD95 of both in mm; None if the lesion was missed.
        nsd: Surface Dice by tolerance in mm; empty where the protocol has none.
        counts: Whether the lesion is above the protocol's threshold. Other lesions are in no
            score, but the predicted components that belong to them are no false positives.
        centre: Indices of a voxel inside the lesion, near its middle.
    """

    volume_mm3: float
    n_predicted: int
    dice: float
    hd95_mm: float | None
    nsd: Mapping[float, float]
    counts: bool
    centre: tuple[int, ...]


@dataclass(frozen=True)
class FalsePositive:
    """A predicted component that belongs to no lesion of the reference.

    Attributes:
        volume_mm3: Its volume in mm3.
        centre: Indices of a voxel inside the component, near its middle.
    """

    volume_mm3: float
    centre: tuple[int, ...]


@dataclass(frozen=True)
class RegionScores:
    """Scores of one region of a case under an official protocol.

    Attributes:
        scores: Values by the names of `Protocol.scores`; None if undefined.
        lesions: Lesions of the reference, in the order of the protocol's numbers.
        false_positives: Predicted components that belong to no lesion; also where the protocol
            does not let them count.
    """

    scores: Mapping[str, float | None]
    lesions: tuple[Lesion, ...] = field(default=())
    false_positives: tuple[FalsePositive, ...] = field(default=())
