"""Whether the skull is stripped already, and the tissue of such scans."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np

from volseg.errors import BrainMaskError
from volseg.images.background import background_of, tissue_of
from volseg.preparation.brain_mask.mask import Mask, Proposal
from volseg.preparation.brain_mask.skull import skull_share
from volseg.preparation.volume import Volume

# Background of a stripped scan fills at least this share of its border; brains may touch it.
_BORDER = 0.9
# Share of lines into a head that cross bone, as a mean of the channels: up to the first it is a
# brain, from the second on a head; between them it is not clear. Measured in single channels,
# whole, in slabs of 55 mm and in halves: 0.00 to 0.17 in 40 channels of ten stripped brains (BraTS;
# once 0.23, in a half), and 0.20 to 0.98 in 80 of heads whose air was set to 0 (TCGA, a DICOM
# series, both also in the size of a child), where the background fills 0.9 of the border.
_BRAIN, _HEAD = 0.18, 0.25


def tissue_mask(volumes: Mapping[str, Volume]) -> Mask:
    """Voxels (I, J, K) that are tissue in any channel."""
    masks = (tissue_of(v.values, background_of(v.values)) for v in volumes.values())
    return reduce(np.logical_or, masks)


def stripped_brain(volumes: Mapping[str, Volume], most_ml: float) -> Proposal | None:
    """The tissue of a case whose skull is stripped already; None: it is a head.

    Volume alone does not decide: a part of a head, or the head of a child, is no larger than a
    brain.

    Args:
        volumes: Channels by name.
        most_ml: Volume of the largest brain: a head whose air is 0 is larger.

    Raises:
        BrainMaskError: If this cannot be decided.
    """
    found = {name: background_of(volume.values) for name, volume in volumes.items()}
    if any(background.share < _BORDER for background in found.values()):
        return None
    grid = next(iter(volumes.values())).grid
    tissues = {name: tissue_of(v.values, found[name]) for name, v in volumes.items()}
    tissue = reduce(np.logical_or, tissues.values())
    if tissue.sum() * grid.voxel_ml > most_ml:
        return None
    if not tissue.any():
        return Proposal(tissue, "already stripped", tuple(volumes))
    shares = [skull_share(n, v, tissues[n], found[n]) for n, v in volumes.items()]
    share = float(np.mean([one for one in shares if one is not None] or [np.nan]))
    if share > _HEAD:
        return None
    if share > _BRAIN or np.isnan(share):
        seen = "too little of its surface is in the field of view"
        if not np.isnan(share):
            seen = f"{share:.0%} of the lines into it cross what looks like bone"
        raise BrainMaskError(
            f"whether the skull is stripped already is not clear: {seen}",
            remedy="give --strip mask if it is stripped, or a command if it is not",
        )
    return Proposal(tissue, "already stripped", tuple(volumes))
