"""A brain mask, what a method proposes as one, and the channel that methods look at first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from volseg.images.boxes import bounding_box
from volseg.images.components import components
from volseg.images.grid import Grid
from volseg.preparation.volume import Volume
from volseg.words import number_of

Mask = npt.NDArray[np.bool_]
# The channels with the sharpest border of the brain first.
_PREFERRED = ("t1n", "t1c", "t2f", "t2w")
# Parts of less than this share of a mask are left out without a word.
_SPECK = 0.001


@dataclass(frozen=True, eq=False)
class BrainMask:
    """The brain in a volume.

    Attributes:
        mask: (I, J, K), True for brain; True everywhere if the skull is kept.
        grid: Grid of the mask.
        method: What found it, such as "HD-BET" or "command bet".
        channels: Channels that it was found in.
        volume_ml: Volume of the mask.
        seconds: Time of a core.
        notes: What the user should know, as sentences.
    """

    mask: Mask
    grid: Grid
    method: str
    channels: tuple[str, ...]
    volume_ml: float
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Proposal:
    """What a method takes for the brain, before its volume is checked.

    Attributes:
        mask: (I, J, K).
        method: What found it.
        channels: Channels that it was found in.
        notes: What the user should know, as sentences.
    """

    mask: Mask
    method: str
    channels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def with_notes(self, *notes: str) -> Proposal:
        """The same with notes before those that it has."""
        return replace(self, notes=(*notes, *self.notes))


def preferred(volumes: Mapping[str, Volume]) -> str:
    """The channel to find the brain in: T1 without contrast agent if there is one."""
    return next((name for name in _PREFERRED if name in volumes), next(iter(volumes)))


def cleaned(proposal: Proposal) -> Proposal:
    """The largest part of a mask without its holes; a note names the share of other parts."""
    box = bounding_box(proposal.mask)
    numbers, n = components(proposal.mask[box])
    if n == 0:
        return proposal
    sizes = np.bincount(numbers.ravel())[1:]
    filled = np.zeros_like(proposal.mask)
    filled[box] = ndimage.binary_fill_holes(numbers == 1 + sizes.argmax())
    lost = 1 - sizes.max() / sizes.sum()
    notes = proposal.notes
    if lost > _SPECK:
        parts = number_of(n - 1, "smaller part")
        notes = (*notes, f"left out: {parts} of the mask, {lost:.1%} of it")
    return replace(proposal, mask=filled, notes=notes)
