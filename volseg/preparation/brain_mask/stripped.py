"""Whether the skull is stripped already, and the tissue of such scans."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np

from volseg.images.background import background_of, tissue_of
from volseg.preparation.brain_mask.mask import Mask, Proposal
from volseg.preparation.volume import Volume

# Background of a stripped scan fills at least this share of its border; brains may touch it.
_BORDER = 0.9


def tissue_mask(volumes: Mapping[str, Volume]) -> Mask:
    """Voxels (I, J, K) that are tissue in any channel."""
    masks = (tissue_of(v.values, background_of(v.values)) for v in volumes.values())
    return reduce(np.logical_or, masks)


def stripped_brain(volumes: Mapping[str, Volume], most_ml: float) -> Proposal | None:
    """The tissue of a case whose skull is stripped already, or None.

    Args:
        volumes: Channels by name.
        most_ml: Volume of the largest brain: a head whose air is 0 is larger.
    """
    if any(background_of(v.values).share < _BORDER for v in volumes.values()):
        return None
    grid = next(iter(volumes.values())).grid
    tissue = tissue_mask(volumes)
    if tissue.sum() * grid.voxel_ml > most_ml:
        return None
    return Proposal(tissue, "already stripped", tuple(volumes))
