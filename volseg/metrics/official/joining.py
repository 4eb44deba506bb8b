"""Lesions joined by other tissue that they touch, as the BraTS programs of 2024 and 2025 do it.

They count pieces of enhancing tumour around one necrosis as one lesion. The quirks of their rule
are kept, so that scores under their names are those of the programs: parts are joined only if at
least two pairs touch, joining is not transitive, and joined parts get the highest numbers.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from volseg.images.components import dilated
from volseg.metrics.official.parts import Parts

Pair = tuple[int, int]


def joined(parts: Parts, neighbours: Iterable[Parts]) -> Parts:
    """Parts of a tissue, joined where they touch one part of a neighbouring tissue.

    Args:
        parts: Parts of the tissue, dilated by at least one step.
        neighbours: Parts of each neighbouring tissue, in the order in which they join.
    """
    near = np.where(dilated(parts.mask, 1), parts.reach, 0)
    number_of = np.arange(parts.n + 1)
    number_of[np.setdiff1d(number_of, parts.present)] = 0
    for tissue in neighbours:
        pairs = {(int(number_of[part]), other) for part, other in _touching(near, tissue)}
        present = sorted(set(number_of.tolist()) - {0})
        table = np.zeros(parts.n + 1, np.intp)
        for number, part in _renumbered(present, pairs):
            table[part] = number
        number_of = table[number_of]
    return parts.renumbered(number_of)


def _touching(near: npt.NDArray[np.integer], tissue: Parts) -> set[Pair]:
    """Numbers of the parts and of the neighbour's parts that touch by a face or an edge."""
    both = (near > 0) & tissue.mask
    pairs = near[both].astype(np.int64) * (tissue.n + 1) + tissue.numbers[both]
    return {divmod(pair, tissue.n + 1) for pair in np.unique(pairs).tolist()}


def _renumbered(present: list[int], pairs: set[Pair]) -> list[Pair]:
    """New and old number of each part: untouched parts first, then the groups.

    A part that touches several parts of the neighbour goes with the lowest number.

    >>> _renumbered([1, 2, 3], {(1, 7), (3, 7)})
    [(1, 2), (2, 1), (2, 3)]
    >>> _renumbered([2, 3], {(3, 7)})
    [(1, 2), (2, 3)]
    """
    lowest: dict[int, int] = {}
    if len(pairs) > 1:
        for part, other in sorted(pairs):
            lowest.setdefault(part, other)
    rest = [part for part in present if part not in lowest]
    groups = dict.fromkeys(lowest.values())
    number_of = {other: number for number, other in enumerate(groups, start=len(rest) + 1)}
    return [
        *enumerate(rest, start=1),
        *((number_of[other], part) for part, other in lowest.items()),
    ]
