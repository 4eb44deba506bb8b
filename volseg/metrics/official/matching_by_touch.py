"""Which predicted components belong to which lesion, and the scores of each lesion."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from volseg.images.boxes import union
from volseg.metrics.nsd import nsd
from volseg.metrics.official.area_hd95 import area_hd95_mm
from volseg.metrics.official.parts import Parts
from volseg.metrics.official.program_2017 import Spacing, volume_mm3
from volseg.metrics.official.region_scores import FalsePositive, Lesion
from volseg.metrics.overlap import Mask


@dataclass(frozen=True, eq=False)
class Matching:
    """Lesions and predicted components of one region.

    A component belongs to each lesion whose dilation it touches, and counts whole for each of them.

    Attributes:
        lesions: Parts of the reference.
        components: Parts of the prediction.
        spacing_mm: Voxel size along the three axes in mm.
        tolerances_mm: Tolerances of the surface Dice of each lesion.
    """

    lesions: Parts
    components: Parts
    spacing_mm: Spacing
    tolerances_mm: Sequence[float] = ()

    @cached_property
    def _shared(self) -> Mapping[int, Mapping[int, int]]:
        """By lesion: the components that touch its dilation, and the voxels that they share."""
        of_component = self.components.mask
        reach, lesion, component = (
            numbers[of_component].astype(np.int64)
            for numbers in (self.lesions.reach, self.lesions.numbers, self.components.numbers)
        )
        keys = (reach * (self.components.n + 1) + component) * 2 + (lesion > 0)
        shared: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for key, voxels in zip(*map(np.ndarray.tolist, np.unique_counts(keys)), strict=True):
            pair, inside = divmod(key, 2)
            number, touching = divmod(pair, self.components.n + 1)
            shared[number][touching] += voxels * inside
        shared.pop(0, None)
        return shared

    def lesion_list(self, threshold_mm3: float) -> tuple[Lesion, ...]:
        """All lesions, by number; those above the threshold count."""
        return tuple(self._lesion(number, threshold_mm3) for number in self.lesions.present)

    def _lesion(self, number: int, threshold_mm3: float) -> Lesion:
        shared = self._shared.get(number, {})
        size = int(self.lesions.sizes[number])
        size_mm3 = volume_mm3(size, self.spacing_mm)
        dice, hd95_mm, surface_dice = 0.0, None, dict.fromkeys(self.tolerances_mm, 0.0)
        if shared:
            predicted = int(self.components.sizes[list(shared)].sum())
            dice = 2 * sum(shared.values()) / (size + predicted)
            pair = self._masks(number, list(shared))
            hd95_mm = area_hd95_mm(*pair, self.spacing_mm)
            surface_dice = nsd(*pair, self.spacing_mm, self.tolerances_mm)
        return Lesion(
            volume_mm3=size_mm3,
            n_predicted=len(shared),
            dice=dice,
            hd95_mm=hd95_mm,
            nsd=surface_dice,
            counts=size_mm3 > threshold_mm3,
            centre=self.lesions.centre(number),
        )

    def _masks(self, lesion: int, components: list[int]) -> tuple[Mask, Mask]:
        """Masks of a lesion and of its components, in the box around them."""
        boxes = [self.components.boxes[number - 1] for number in components]
        box = union([self.lesions.boxes[lesion - 1], *boxes])
        chosen = np.zeros(self.components.n + 1, bool)
        chosen[components] = True
        return self.lesions.numbers[box] == lesion, chosen[self.components.numbers[box]]

    def false_positives(self) -> tuple[FalsePositive, ...]:
        """Components that belong to no lesion, by number."""
        touching = {component for shared in self._shared.values() for component in shared}
        return tuple(
            FalsePositive(
                volume_mm3(int(self.components.sizes[number]), self.spacing_mm),
                self.components.centre(number),
            )
            for number in self.components.present
            if number not in touching
        )
