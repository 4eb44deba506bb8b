"""Missing channels of a case: left out, or replaced by another channel."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.images.case_images import CaseImages


def present_channels(
    held: Sequence[str], channels: Sequence[str], fill: str | None, *, optional: bool
) -> list[str]:
    """Channels to read of a case, some of which it may lack.

    >>> present_channels(["t2f"], ["t1c", "t2f"], None, optional=True)
    ['t2f']

    Args:
        held: Channels that the case has.
        channels: Wanted channels, in this order.
        fill: Channel that replaces missing channels, and that the case must have.
        optional: Whether the case may lack channels that nothing replaces.

    Returns:
        The wanted channels, without those that the case may lack and does lack. If it has none of
        them, all are returned, since a case without any channel cannot be read.
    """
    if fill is not None:
        return [name for name in channels if name in (fill, *held)]
    there = [name for name in channels if name in held]
    return there if optional and there else list(channels)


def filled(
    images: CaseImages, present: Sequence[str], channels: Sequence[str], fill: str | None
) -> CaseImages:
    """The images of all `channels`, with `fill` in place of missing channels.

    Args:
        images: Images of the channels `present`.
        present: Channels that were read, including `fill`.
        channels: Wanted channels, in this order.
        fill: Channel that replaces missing channels. A channel equal to `fill` in every voxel
            counts as missing too. None: missing channels are named, and nothing replaces them.
    """
    array = images.array
    absent = [name for name in channels if name not in present]
    if fill is None:
        return _named(images, tuple(absent), None) if absent else images
    filler = array[present.index(fill)]
    copies = [
        name
        for number, name in enumerate(present)
        if name != fill and np.array_equal(array[number], filler)
    ]
    missing = tuple(name for name in channels if name in (*copies, *absent))
    if absent:
        # The axes keep the order of the file, K outermost.
        files = [present.index(name if name in present else fill) for name in channels]
        array = array.transpose(0, 3, 2, 1)[files].transpose(0, 3, 2, 1)
    images = replace(images, array=array)
    return _named(images, missing, fill) if missing else images


def lacking_in_words(channels: Iterable[str], fill: str | None) -> str:
    """The missing channels of a case, in words.

    >>> lacking_in_words(["t1n", "t1c"], "t2f"), lacking_in_words(["t1c"], None)
    ('t1n, t1c missing: t2f stands in', 't1c missing: zeros stand in')
    """
    stand_in = "zeros stand" if fill is None else f"{fill} stands"
    return f"{', '.join(channels)} missing: {stand_in} in"


def copies_in_words(channels: Mapping[str, npt.NDArray[Any]]) -> list[str]:
    """A sentence for each two channels (I, J, K) with equal voxels: one may replace a missing one.

    >>> copies_in_words({"t1n": np.ones(2), "t2f": np.ones(2), "t1c": np.zeros(2)})
    ['t1n and t2f are equal in every voxel: if one stands in for a missing channel, leave it out']
    """
    return [
        f"{first} and {second} are equal in every voxel: if one stands in for a missing channel, "
        "leave it out"
        for first, second in itertools.combinations(channels, 2)
        if np.array_equal(channels[first], channels[second])
    ]


def _named(images: CaseImages, missing: tuple[str, ...], fill: str | None) -> CaseImages:
    notes = (*images.notes, lacking_in_words(missing, fill))
    return replace(images, missing=missing, notes=notes)
