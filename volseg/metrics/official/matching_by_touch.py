"""Which predicted components belong to which lesion, and the scores of each lesion."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from volseg.images.boxes import grown
from volseg.metrics.nsd import border_nsd, reach_voxels
from volseg.metrics.official.area_hd95 import surface_hd95_mm
from volseg.metrics.official.parts import Parts
from volseg.metrics.official.region_scores import FalsePositive, Lesion
from volseg.metrics.official.surface_elements import PartSurfaces
from volseg.metrics.official.voxels import Spacing, volume_mm3


@dataclass(frozen=True, eq=False)
class Matching:
    """Lesions and predicted components of one region, matched by touch.

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
            hd95_mm = self._hd95_mm(number, list(shared))
            surface_dice = self._nsd(number, list(shared))
        return Lesion(
            volume_mm3=size_mm3,
            n_predicted=len(shared),
            dice=dice,
            hd95_mm=hd95_mm,
            nsd=surface_dice,
            counts=size_mm3 > threshold_mm3,
            centre=self.lesions.centre(number),
        )

    def _hd95_mm(self, lesion: int, components: list[int]) -> float:
        expected, predicted = self._surfaces
        return surface_hd95_mm(expected.of([lesion]), predicted.of(components))

    @cached_property
    def _surfaces(self) -> tuple[PartSurfaces, PartSurfaces]:
        # Of all parts at once: many lesions may belong to one component, as large as the image.
        return (
            PartSurfaces(self.lesions.numbers, self.spacing_mm),
            PartSurfaces(self.components.numbers, self.spacing_mm),
        )

    def _nsd(self, lesion: int, components: list[int]) -> dict[float, float]:
        if not self.tolerances_mm:
            return {}
        around = reach_voxels(self.spacing_mm, self.tolerances_mm)
        box = grown(self.lesions.boxes[lesion - 1], around)
        chosen = np.zeros(self.components.n + 1, bool)
        chosen[components] = True
        near = (
            self.lesions.border[box] & (self.lesions.numbers[box] == lesion),
            self.components.border[box] & chosen[self.components.numbers[box]],
        )
        sizes = (
            int(self.lesions.border_sizes[lesion]),
            int(self.components.border_sizes[components].sum()),
        )
        return border_nsd(near, sizes, self.spacing_mm, self.tolerances_mm)

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
