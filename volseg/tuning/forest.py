"""Components of all regions of a case, whose counts of voxels give the Dice of any options.

A component of an inner region lies in one component of the region around it. So it is kept or
removed with that component, and no voxel has to be looked at again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import cc3d
import numpy as np
import numpy.typing as npt

from volseg.labels import LabelScheme, Masks
from volseg.metrics import Overlap
from volseg.postprocess import NEARLY_1
from volseg.tuning.decoding import RegionOptions

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Components:
    """Components of a region.

    Attributes:
        voxels: Number of voxels of each component.
        found: Number of voxels of each component that are in the reference.
        around: Index of the component around each component, in the region `parent`.
        parent: Index of the region around this region; None for an outer region.
        reference: Number of voxels of the reference.
    """

    voxels: Counts
    found: Counts
    around: Counts
    parent: int | None
    reference: int

    def kept(self, options: RegionOptions, voxel_mm3: float) -> npt.NDArray[np.bool_]:
        """Whether each component stays, as `postprocess.decode` decides for this region alone."""
        least = options.min_component_mm3
        kept = np.ones(len(self.voxels), np.bool_)
        if least > voxel_mm3:
            kept = self.voxels * voxel_mm3 >= least * NEARLY_1
        if options.largest_component and kept.any():
            kept &= np.arange(len(kept)) == np.argmax(self.voxels * kept)
        return kept


class Forest:
    """Components of nested regions at given thresholds.

    Args:
        masks: Masks of all regions within a box, as a label map holds them.
        box: The box.
        reference: Reference masks (R, *), also outside the box.
        scheme: A label scheme that `is_nested`.
        voxel_mm3: Volume of a voxel.
    """

    def __init__(
        self,
        masks: Masks,
        box: tuple[slice, ...],
        reference: npt.NDArray[np.bool_],
        scheme: LabelScheme,
        voxel_mm3: float,
    ) -> None:
        self.voxel_mm3 = voxel_mm3
        names = list(scheme.regions)
        numbered = [cc3d.connected_components(masks[name], connectivity=26) for name in names]
        self.regions: list[Components] = []
        for number, (name, of_region) in enumerate(zip(names, numbered, strict=True)):
            parent = scheme.parent(name)
            outer = None if parent is None else names.index(parent)
            around = None if outer is None else numbered[outer]
            self.regions.append(_components(of_region, reference[number], box, around, outer))
        # Outer regions first.
        self.order = sorted(range(len(names)), key=lambda n: -len(scheme.regions[names[n]]))

    def dice(self, options: Sequence[RegionOptions]) -> list[float]:
        """Dice of each region with these options; their thresholds are those of the masks."""
        kept: dict[int, npt.NDArray[np.bool_]] = {}
        for number in self.order:
            of, of_region = self.regions[number], options[number]
            here = of.kept(of_region, self.voxel_mm3)
            if of.parent is not None:
                here &= kept[of.parent][of.around]
            if int(of.voxels @ here) * self.voxel_mm3 < of_region.min_region_mm3 * NEARLY_1:
                here = np.zeros_like(here)
            kept[number] = here
        return [self._dice(number, kept[number]) for number in range(len(self.regions))]

    def _dice(self, number: int, kept: npt.NDArray[np.bool_]) -> float:
        of = self.regions[number]
        found, predicted = int(of.found @ kept), int(of.voxels @ kept)
        return Overlap(found, predicted - found, of.reference - found).dice


def _components(
    numbered: npt.NDArray[np.integer],
    reference: npt.NDArray[np.bool_],
    box: tuple[slice, ...],
    around: npt.NDArray[np.integer] | None,
    parent: int | None,
) -> Components:
    flat = numbered.ravel()
    voxels = np.bincount(flat)[1:]
    found = np.bincount(flat[reference[box].ravel()], minlength=len(voxels) + 1)[1:]
    outer = np.zeros(len(voxels), np.int64)
    if around is not None:
        inside = flat > 0
        outer[flat[inside] - 1] = around.ravel()[inside].astype(np.int64) - 1
    return Components(voxels, found, outer, parent, int(np.count_nonzero(reference)))


def is_nested(scheme: LabelScheme) -> bool:
    """Whether any two regions either nest or share no label, as in all schemes of volseg."""
    sets = [set(values) for values in scheme.regions.values()]
    return all(a <= b or b <= a or a.isdisjoint(b) for a, b in combinations(sets, 2))
