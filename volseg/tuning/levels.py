"""Probabilities of a case on disk: of each voxel the number of thresholds that it reaches.

This byte gives the same comparisons with the thresholds as the float32 probability, in a sixth of
the disk space.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.images.boxes import bounding_box
from volseg.labels import LabelScheme

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class CaseLevels:
    """A case within a box; outside it no threshold is reached and the reference is background.

    Attributes:
        levels: Number of thresholds that each probability reaches, (R, *): under True of means
            over mirrored copies, under False without them.
        wins: Whether the second region of each pair of `rivals` is at least as probable as the
            first, (pairs, *), under the same keys.
        reference: Reference masks (R, *).
        voxel_mm3: Volume of a voxel.
        spacing_mm: Size of a voxel along the axes.
        box: The box, within the grid of the case.
    """

    levels: Mapping[bool, Bytes]
    wins: Mapping[bool, npt.NDArray[np.bool_]]
    reference: npt.NDArray[np.bool_]
    voxel_mm3: float
    spacing_mm: tuple[float, ...]
    box: tuple[slice, ...]

    @classmethod
    def of(
        cls,
        probabilities: Mapping[bool, npt.NDArray[np.float32]],
        reference: npt.NDArray[np.bool_],
        scheme: LabelScheme,
        cuts: Sequence[float],
        spacing_mm: Sequence[float],
    ) -> CaseLevels:
        """Levels of probabilities (R, I, J, K) and reference masks (R, I, J, K).

        Args:
            probabilities: Under True means over mirrored copies, under False without them.
            reference: Masks of the same shape.
            scheme: Label scheme of the R regions.
            cuts: Thresholds, in increasing order.
            spacing_mm: Size of a voxel along the axes.
        """
        everywhere = {tta: _levels(values, cuts) for tta, values in probabilities.items()}
        used = np.logical_or.reduce(
            [reference.any(axis=0), *(levels.any(axis=0) for levels in everywhere.values())]
        )
        inside = bounding_box(used) if used.any() else (slice(0, 1),) * 3
        box = (slice(None), *inside)
        pairs = list(rivals(scheme))
        wins = {
            tta: np.stack([values[other][inside] >= values[one][inside] for one, other in pairs])
            if pairs
            else np.zeros((0, *used[inside].shape), np.bool_)
            for tta, values in probabilities.items()
        }
        return cls(
            {tta: levels[box].copy() for tta, levels in everywhere.items()},
            wins,
            reference[box].copy(),
            float(np.prod(spacing_mm)),
            tuple(spacing_mm),
            inside,
        )

    def raw_masks(
        self, tta: bool, places: Sequence[int], scheme: LabelScheme
    ) -> tuple[dict[str, npt.NDArray[np.bool_]], tuple[slice, ...]]:
        """Masks at a threshold for each region, before components, as a label map holds them.

        Args:
            tta: Whether the probabilities are means over mirrored copies.
            places: Index of the threshold of each region among the thresholds of the levels.
            scheme: Label scheme of the regions.

        Returns:
            The masks within a box around all of them, and the box.
        """
        whole = [levels > place for levels, place in zip(self.levels[tta], places, strict=True)]
        used = np.logical_or.reduce(whole)
        # A box without a voxel has no components.
        box = bounding_box(used) if used.any() else (slice(0, 1),) * 3
        masks = [mask[box] for mask in whole]
        for (one, other), everywhere in zip(rivals(scheme), self.wins[tta], strict=True):
            both, wins = masks[one] & masks[other], everywhere[box]
            masks[one] &= ~(both & wins)
            masks[other] &= ~(both & ~wins)
        named = dict(zip(scheme.regions, masks, strict=True))
        return scheme.masks(scheme.label_map(named)), box


def _levels(probabilities: npt.NDArray[np.float32], cuts: Sequence[float]) -> Bytes:
    levels = np.zeros(probabilities.shape, np.uint8)
    for cut in cuts:
        levels += probabilities >= cut
    return levels


def rivals(scheme: LabelScheme) -> Iterator[tuple[int, int]]:
    """Indices of regions that exclude each other within the same region around them."""
    names = list(scheme.regions)
    for one, other in combinations(range(len(names)), 2):
        apart = set(scheme.regions[names[one]]).isdisjoint(scheme.regions[names[other]])
        if apart and scheme.parent(names[one]) == scheme.parent(names[other]):
            yield one, other


def numbers_of(box: tuple[slice, ...]) -> npt.NDArray[np.int64]:
    """First index and index after the last along each axis of a box, (axes, 2)."""
    return np.array([(side.start, side.stop) for side in box], np.int64)


def box_of(numbers: npt.NDArray[np.int64]) -> tuple[slice, ...]:
    """The box that `numbers_of` gave the numbers of."""
    return tuple(slice(start, stop) for start, stop in numbers.tolist())


class LevelStore:
    """Cases in a folder, a compressed file each; only the case in use is in memory.

    Args:
        folder: Folder of the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def add(self, case: CaseLevels) -> None:
        """Write a case; its index is the number of cases before it."""
        arrays: dict[str, Any] = {
            "reference": np.packbits(case.reference),
            "shape": np.array(case.reference.shape),
            "voxel_mm3": np.array(case.voxel_mm3),
            "spacing_mm": np.array(case.spacing_mm),
            "box": numbers_of(case.box),
        }
        for tta, levels in case.levels.items():
            arrays[f"levels{tta:d}"] = levels
            arrays[f"wins{tta:d}"] = case.wins[tta]
        np.savez_compressed(self._file(self.size), **arrays)
        self.size += 1

    def read(self, index: int) -> CaseLevels:
        """A case by its index."""
        with np.load(self._file(index)) as arrays:
            shape = tuple(arrays["shape"])
            bits = np.unpackbits(arrays["reference"], count=int(np.prod(shape)))
            there = [tta for tta in (False, True) if f"levels{tta:d}" in arrays]
            return CaseLevels(
                {tta: arrays[f"levels{tta:d}"] for tta in there},
                {tta: arrays[f"wins{tta:d}"] for tta in there},
                bits.reshape(shape).astype(np.bool_),
                float(arrays["voxel_mm3"]),
                tuple(arrays["spacing_mm"].tolist()),
                box_of(arrays["box"]),
            )

    def _file(self, index: int) -> Path:
        return self.folder / f"case-{index:06d}.npz"
