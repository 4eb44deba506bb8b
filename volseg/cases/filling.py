"""Replacement of missing channels of a case by another channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from volseg.images.case_images import CaseImages


def filled(
    images: CaseImages, present: Sequence[str], channels: Sequence[str], fill: str
) -> CaseImages:
    """The images of all `channels`, with `fill` in place of missing channels.

    Args:
        images: Images of the channels `present`.
        present: Channels that were read, including `fill`.
        channels: Wanted channels, in this order.
        fill: Channel that replaces missing channels. A channel equal to `fill` in every voxel
            counts as missing too.
    """
    array = images.array
    filler = array[present.index(fill)]
    copies = [
        name
        for number, name in enumerate(present)
        if name != fill and np.array_equal(array[number], filler)
    ]
    absent = [name for name in channels if name not in present]
    missing = tuple(name for name in channels if name in (*copies, *absent))
    if absent:
        # The axes keep the order of the file, K outermost.
        files = [present.index(name if name in present else fill) for name in channels]
        array = array.transpose(0, 3, 2, 1)[files].transpose(0, 3, 2, 1)
    notes = images.notes
    if missing:
        notes = (*notes, f"{', '.join(missing)} missing: {fill} stands in")
    return replace(images, array=array, missing=missing, notes=notes)
