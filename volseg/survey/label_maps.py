"""Facts of the label maps of many cases, read in parallel: values, tumour slices, hashes."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from volseg import memory
from volseg.cases.case import Case
from volseg.errors import VolsegError, of_case
from volseg.images.grid import Grid
from volseg.labels import get_scheme
from volseg.progress import track
from volseg.survey.schemes import FROM_CONFIG, Values

_T = TypeVar("_T")
# Labelled voxels, at least, for a hash: two patients may share a few voxels by chance.
_EVIDENCE = 100
_PIECE = 2**24


@dataclass(frozen=True)
class LabelMap:
    """Facts of a label map.

    Attributes:
        values: Values in the label map.
        tumour_slices: Number of slices with any value but 0.
        key: Hash that is equal for label maps with equal voxels, even if their integers differ;
            None if few voxels are labelled.
        notes: Assumptions where the header is incomplete.
        outline: Logarithm of the number of labelled voxels, and their centre and spread along the
            axes right, forward and up, in voxels; None if few are labelled, and for 2D slices.
    """

    values: Values
    tumour_slices: int
    key: str | None = None
    notes: tuple[str, ...] = ()
    outline: tuple[float, ...] | None = None


def read_label_maps(cases: Iterable[Case]) -> dict[str, LabelMap | str | None]:
    """Facts of label maps by case id; None without label map, or why the case cannot be used.

    The images of a stack of slices and their masks must all have the same size.
    """
    return _read(cases, _read_case)


def read_values(cases: Iterable[Case]) -> dict[str, Values | str]:
    """Values of each label map by case id, or why it cannot be read."""
    read = _read((case for case in cases if case.label), _read_label_map)
    return {name: one.values if isinstance(one, LabelMap) else one for name, one in read.items()}


def _read(cases: Iterable[Case], read_one: Callable[[Case], _T]) -> dict[str, _T | str]:
    """Results of `read_one` by case id, or why a case cannot be read."""

    def attempt(case: Case) -> _T | str:
        try:
            with of_case(case.case_id), memory.in_words():
                return read_one(case)
        except VolsegError as error:
            return error.without_case

    by_id = {case.case_id: case for case in cases}
    # Decompression releases Python's lock, so threads are enough.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = zip(by_id, pool.map(attempt, by_id.values()), strict=True)
        return dict(track(read, "reading label maps", len(by_id)))


def _read_label_map(case: Case) -> LabelMap:
    label_map, grid = case.read_reference()
    stored = label_map.transpose(2, 1, 0)  # the order of the file
    flat = stored.reshape(-1)
    held = _Sums(stored.shape)
    for start in range(0, flat.size, _PIECE):
        held.add(flat[start : start + _PIECE], start)
    values = frozenset(np.flatnonzero(held.counts).tolist())
    key = outline = None
    if held.labelled >= _EVIDENCE:
        key = held.digest.hexdigest()
        outline = _outline(held, grid) if case.is_oriented else None
    tumour_slices = sum(bool(plane.any()) for plane in stored)
    return LabelMap(values, tumour_slices, key, grid.notes, outline)


class _Sums:
    """Counts, hash and sums of a label map (K, J, I), added piece by piece without a copy.

    Attributes:
        counts: Number of voxels of each value.
        digest: Hash of the labelled voxels, with labels numbered in their order of occurrence.
        sums: Sums of the indices K, J and I of labelled voxels, and of the squared indices, (2, 3).
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.counts = np.zeros(256, np.int64)
        self.digest = hashlib.blake2b(str(shape).encode(), digest_size=16)
        self.sums = np.zeros((2, 3))
        self._rank = np.zeros(256, np.uint8)

    @property
    def labelled(self) -> int:
        """Number of voxels that are not 0."""
        return int(self.counts[1:].sum())

    def add(self, piece: npt.NDArray[np.uint8], start: int) -> None:
        """Add a piece of the flattened label map that starts at index `start`."""
        # Few voxels are labelled, so it is many times faster to work on these alone.
        places = np.flatnonzero(piece)
        labels = piece[places]
        self.counts[0] += piece.size - places.size
        places += start
        found, first = np.unique(labels, return_index=True)
        for label in found[np.argsort(first)]:
            self._rank[label] = self._rank[label] or self._rank.max() + 1
        self.counts += np.bincount(labels, minlength=256)
        self.digest.update(places.tobytes())
        self.digest.update(self._rank[labels].tobytes())
        for axis, indices in enumerate(np.unravel_index(places, self.shape)):
            self.sums[:, axis] += indices.sum(), np.square(indices, dtype=np.float64).sum()


def _outline(held: _Sums, grid: Grid) -> tuple[float, ...]:
    """Log volume, centre and spread of the labelled voxels, for any order of the stored axes."""
    mean, squares = held.sums[:, ::-1] / held.labelled
    spread = np.sqrt(np.maximum(squares - mean**2, 0))
    mean = np.where(grid.ras_signs < 0, np.array(grid.shape) - 1 - mean, mean)
    order = grid.ras_axes
    return (math.log(held.labelled), *mean[order].tolist(), *spread[order].tolist())


def _read_case(case: Case) -> LabelMap | None:
    case.check_sizes()
    return _read_label_map(case) if case.label else None


def empty_regions(values: Mapping[str, Values], schemes: Mapping[str, str]) -> tuple[str, ...]:
    """Warnings if label maps, or a region of them, are empty in all or most cases.

    Args:
        values: Values of the label map by case id.
        schemes: Label scheme by case id.
    """
    total = len(values)
    empty = sum(held <= {0} for held in values.values())
    if empty == total:
        return (
            f"all {total} label maps are empty (0 everywhere): nothing can be learnt from them, "
            "and a model that finds nothing would score 1; give label maps with tumours",
        )
    warnings = []
    if 2 * empty > total:
        warnings.append(f"{empty} of {total} label maps are empty (0 everywhere)")
    without: dict[str, list[bool]] = {}
    for case_id, held in values.items():
        if (name := schemes[case_id]) != FROM_CONFIG:
            for region, labels in get_scheme(name).regions.items():
                without.setdefault(region, []).append(held.isdisjoint(labels))
    for region, absent in without.items():
        number = sum(absent)
        if 2 * number > len(absent) and number > empty:
            what = "all" if number == len(absent) else f"{number} of"
            warnings.append(
                f"{region} is empty in {what} {len(absent)} cases: a model that never finds it "
                "would score 1 in them"
            )
    return tuple(warnings)
