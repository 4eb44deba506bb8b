"""Coordinate descent over the options of decoding, region by region."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from volseg.tuning.decoding import (
    MIN_COMPONENTS_MM3,
    MIN_REGIONS_MM3,
    THRESHOLDS,
    Decoding,
    joint_choices,
    single_choices,
)

#: Scores (n, cases, R) of n options of decoding.
Scores = Callable[[Sequence[Decoding]], npt.NDArray[np.float64]]

#: Options to choose from, given the best so far, the initial options and the index of a region.
Choices = Callable[[Decoding, Decoding, int], list[Decoding]]

#: Options change only if they raise the mean score by this much, so that noise changes nothing.
LEAST_GAIN = 0.0005
# Coordinate descent has converged after two or three rounds.
_MOST_ROUNDS = 4
_JOINT: tuple[Choices, ...] = (joint_choices,)
_SINGLE: tuple[Choices, ...] = (
    single_choices("threshold", THRESHOLDS[::2]),
    single_choices("min_component_mm3", MIN_COMPONENTS_MM3),
    single_choices("largest_component", (False, True)),
)


@dataclass(frozen=True)
class Space:
    """The options to choose from.

    Attributes:
        inner: For each region, whether it lies inside another region, whose label its voxels can
            take.
        ttas: Choices of test-time augmentation.
        is_joint: Whether threshold and components of a region are chosen together. This finds
            better options, but takes too long for scores that need the voxels.
    """

    inner: tuple[bool, ...]
    ttas: tuple[bool, ...]
    is_joint: bool = True

    def steps(self) -> Iterator[tuple[int, Choices]]:
        """Regions and their choices, in the order of a round."""
        size = single_choices("min_region_mm3", MIN_REGIONS_MM3)
        for region, is_inner in enumerate(self.inner):
            for choices in _JOINT if self.is_joint else _SINGLE:
                yield region, choices
            if is_inner:
                yield region, size


def search(
    scores: Scores, initial: Decoding, cases: npt.NDArray[np.intp], space: Space
) -> Decoding:
    """Options with the best mean score over regions and cases, near the initial options.

    Args:
        scores: Scores of all cases.
        initial: Options of the model.
        cases: Indices of the cases to choose by; no other case has any effect.
        space: The options to choose from.
    """

    def means(decodings: Sequence[Decoding]) -> npt.NDArray[np.float64]:
        return scores(decodings)[:, cases].mean(axis=(1, 2))

    best, score = initial, float(means([initial])[0])
    for tta in sorted(space.ttas, key=lambda tta: tta != initial.tta):
        found = _descend(means, replace(initial, tta=tta), initial, space)
        if (of_found := float(means([found])[0])) >= score + LEAST_GAIN:
            best, score = found, of_found
    return best


def _descend(
    means: Callable[[Sequence[Decoding]], npt.NDArray[np.float64]],
    start: Decoding,
    initial: Decoding,
    space: Space,
) -> Decoding:
    current, score = start, float(means([start])[0])
    for _ in range(_MOST_ROUNDS):
        before = current
        for region, choices_of in space.steps():
            choices = choices_of(current, initial, region)
            found = means(choices)
            place = int(np.argmax(found))
            if found[place] >= score + LEAST_GAIN:
                current, score = choices[place], float(found[place])
        if current == before:
            break
    return current
