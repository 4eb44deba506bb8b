"""What an official protocol is: the rules and scores of a scoring program for one task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from volseg.metrics.official.scores_until_2025 import TOLERANCES_MM
from volseg.metrics.scores import Score

#: How a program counts; `lesionwise_scores` has a function for each.
Program = Literal["legacy", "lesions", "panoptic", "panoptic by size"]


@dataclass(frozen=True)
class RegionRule:
    """Rule of one region.

    Attributes:
        labels: Label values of the region.
        dilation: Steps of 18-neighbour dilation, within which components are one lesion and a
            predicted component belongs to a lesion.
        threshold_mm3: A lesion counts if its volume is greater.
        joined_by: Tissues whose components join the lesions of this region that they touch.
    """

    labels: tuple[int, ...]
    dilation: int = 0
    threshold_mm3: float = 0
    joined_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """An official scoring program for one task, with its rules.

    Attributes:
        name: Name in commands and files, such as `brats2023-gli`.
        title: Name for readers, with the program.
        program: How the program counts.
        scheme: Name of the label scheme of the label maps.
        regions: Rule of each region, in the order of the program.
        scores: What the program prints, and F1 and volumes beside it.
        penalty_mm: HD95 of a missed lesion and of a false positive in mm; None: the diagonal of
            the image in voxels.
        filter_unit: Unit in which the size of a predicted component is compared with the number
            of `threshold_mm3`: components are first merged by dilation like lesions, then those
            not above that number are removed. None: neither is done.
        false_positives_cost: Whether false positives lower the scores.
        neighbours: Rules of tissues that are no region, but join lesions.
        reads_pixdim: Whether the program takes the voxel size from pixdim in the header of the
            prediction, and not from its affine.
    """

    name: str
    title: str
    program: Program
    scheme: str
    regions: Mapping[str, RegionRule]
    scores: tuple[Score, ...]
    penalty_mm: float | None = 374.0
    filter_unit: Literal["voxels", "mm3"] | None = None
    false_positives_cost: bool = True
    neighbours: Mapping[str, RegionRule] = field(default_factory=dict)
    reads_pixdim: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        # Mapping proxies cannot be pickled, so a protocol is its name.
        from volseg.metrics.official.protocols import get_protocol

        return get_protocol, (self.name,)

    @property
    def tissues(self) -> dict[str, RegionRule]:
        """Rules of the regions and of the neighbours."""
        return {**self.regions, **self.neighbours}

    @property
    def tolerances_mm(self) -> tuple[float, ...]:
        """Tolerances of the surface Dice among the scores, in mm."""
        names = {score.name for score in self.scores}
        return tuple(each for each in TOLERANCES_MM if f"lesion_nsd_{each}mm" in names)
