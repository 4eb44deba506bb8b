"""Outline of a mask: line segments halfway between voxels inside and outside."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]

# Of a square of four neighbouring pixels: the middles of its upper, right, lower and left side.
_UP, _RIGHT, _DOWN, _LEFT = (0.0, 0.5), (0.5, 1.0), (1.0, 0.5), (0.5, 0.0)
# Segments of the outline in such a square; its upper left, upper right, lower right and lower left
# pixels count 1, 2, 4 and 8. Pixels that touch at a corner are connected.
_OF_CASE = {
    1: [(_UP, _LEFT)],
    2: [(_UP, _RIGHT)],
    3: [(_LEFT, _RIGHT)],
    4: [(_RIGHT, _DOWN)],
    5: [(_UP, _RIGHT), (_DOWN, _LEFT)],
    6: [(_UP, _DOWN)],
    7: [(_DOWN, _LEFT)],
}
_OF_CASE |= {15 - case: segments for case, segments in _OF_CASE.items() if case != 5}
_OF_CASE[10] = [(_UP, _LEFT), (_RIGHT, _DOWN)]
# The first and the last segment of each case; only cases 5 and 10 have two.
_NONE = ((0.0, 0.0), (0.0, 0.0))
_FIRST = np.array([_OF_CASE.get(case, [_NONE])[0] for case in range(16)])
_LAST = np.array([_OF_CASE.get(case, [_NONE])[-1] for case in range(16)])


def outline(mask: npt.NDArray[np.bool_]) -> Points:
    """Segments (N, 2, 2) of the outline of a mask (I, J): begin and end, in voxels.

    They lie where a contour at 0.5 lies, the line that figures draw: through the middles of the
    sides between pixels inside and outside. The centre of the first pixel is (0, 0).

    >>> outline(np.array([[True]])).tolist()[0]
    [[-0.5, 0.0], [0.0, -0.5]]
    """
    padded = np.pad(mask, 1).astype(np.uint8)
    cases = padded[:-1, :-1] + 2 * padded[:-1, 1:] + 4 * padded[1:, 1:] + 8 * padded[1:, :-1]
    places = np.argwhere((cases > 0) & (cases < 15))
    found = cases[places[:, 0], places[:, 1]]
    corners = places[:, None, :] - 1.0
    doubled = np.isin(found, (5, 10))
    return np.concatenate([corners + _FIRST[found], (corners + _LAST[found])[doubled]])
