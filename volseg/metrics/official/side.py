"""One side of a case, reference or prediction: its masks and parts, as a protocol counts them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from volseg.metrics.official.joining import joined
from volseg.metrics.official.parts import Parts
from volseg.metrics.official.protocol import Protocol
from volseg.metrics.official.voxels import LabelMap, Spacing, volume_mm3
from volseg.metrics.overlap import Mask


@dataclass(frozen=True, eq=False)
class Side:
    """Label map of a case, cut to a box, with the rules of a protocol.

    Attributes:
        label_map: Labels (I, J, K) within the box.
        corner: Indices of its first voxel in the whole image.
        spacing_mm: Voxel size along the three axes in mm.
        protocol: Rules of the regions.
        predicted: Whether this is the prediction.
    """

    label_map: LabelMap
    corner: tuple[int, ...]
    spacing_mm: Spacing
    protocol: Protocol
    predicted: bool
    _neighbours: dict[str, Parts] = field(default_factory=dict)

    def mask(self, tissue: str) -> Mask:
        """Mask of a region, or of a tissue that joins lesions."""
        mask = np.zeros(self.label_map.shape, bool)
        for label in self.protocol.tissues[tissue].labels:
            mask |= self.label_map == label
        return mask

    def parts(self, region: str) -> Parts:
        """Lesions or predicted components of a region, joined by the tissues that join it."""
        joined_by = self.protocol.regions[region].joined_by
        if not joined_by:
            return self._neighbours.get(region) or self._unjoined(region)
        return joined(self._neighbour(region), [self._neighbour(tissue) for tissue in joined_by])

    def _neighbour(self, tissue: str) -> Parts:
        # Several regions ask for the same tissue.
        if tissue not in self._neighbours:
            self._neighbours[tissue] = self._unjoined(tissue)
        return self._neighbours[tissue]

    def _unjoined(self, tissue: str) -> Parts:
        rule, unit = self.protocol.tissues[tissue], self.protocol.filter_unit
        merges = unit is not None or not self.predicted
        parts = Parts.of(self.mask(tissue), rule.dilation if merges else 0, self.corner)
        if unit is None or not self.predicted:
            return parts
        sizes = parts.sizes.tolist()
        if unit == "mm3":
            sizes = [volume_mm3(size, self.spacing_mm) for size in sizes]
        stays = np.array(sizes) > rule.threshold_mm3
        return parts.renumbered(np.where(stays, np.arange(parts.n + 1), 0))
