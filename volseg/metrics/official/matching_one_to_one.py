"""One-to-one matching of the lesions of the reference and predicted components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from volseg.metrics.official.parts import Parts


@dataclass(frozen=True)
class Match:
    """The predicted component of a lesion: its number, and the Dice of both."""

    component: int
    dice: float


def best_matches(lesions: Parts, found: Parts, least_dice: float) -> dict[int, Match]:
    """Matches, by number of the lesion, with the largest sum of Dice.

    Each lesion and each component is in one match at most, and the Dice of a match is above
    `least_dice`.
    """
    both = (lesions.numbers > 0) & (found.numbers > 0)
    keys = lesions.numbers[both].astype(np.int64) * (found.n + 1) + found.numbers[both]
    keys, shared = np.unique(keys, return_counts=True)
    lesion, component = np.divmod(keys, found.n + 1)
    dice = 2 * shared / (lesions.sizes[lesion] + found.sizes[component])
    chosen = _chosen(lesion, component, dice)
    return {
        int(lesion[at]): Match(int(component[at]), float(dice[at]))
        for at in chosen[dice[chosen] > least_dice]
    }


def _chosen(
    lesion: npt.NDArray[np.int64], component: npt.NDArray[np.int64], dice: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Indices of the overlaps that are matches."""
    if not dice.size:
        return np.empty(0, np.int64)
    # Overlaps that share no lesion and no component are independent: one table of all lesions and
    # components would not fit in memory where there are thousands.
    n = int(lesion.max()) + 1
    size = n + int(component.max()) + 1
    graph = coo_array((np.ones(dice.size), (lesion, n + component)), shape=(size, size))
    group = connected_components(graph, directed=False)[1][lesion]
    order = np.argsort(group, kind="stable")
    chosen = []
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        rows, row = np.unique(lesion[members], return_inverse=True)
        columns, column = np.unique(component[members], return_inverse=True)
        table = np.zeros((rows.size, columns.size))
        at = np.full(table.shape, -1)
        table[row, column], at[row, column] = dice[members], members
        picked = at[linear_sum_assignment(table, maximize=True)]
        chosen.append(picked[picked >= 0])
    return np.concatenate(chosen)
