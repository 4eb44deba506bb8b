"""Label maps of many cases read at once: their values, their tumour, which of them are the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from volseg import memory
from volseg.datalist import Case
from volseg.datalist.conventions import FROM_CONFIG, Values
from volseg.errors import GeometryError, VolsegError
from volseg.labels import get_scheme
from volseg.progress import track
from volseg.scans import read_grid, read_reference, read_reference_grid

_T = TypeVar("_T")
# Two persons may have the same few voxels labelled by chance.
_EVIDENCE = 100


@dataclass(frozen=True)
class LabelMap:
    """What a label map holds.

    Attributes:
        values: Its values.
        tumour_slices: Number of slices with any of them but 0.
        key: The same for label maps that are equal voxel by voxel, whatever integers they bear;
            None where few voxels are labelled.
        notes: What its header leaves open.
    """

    values: Values
    tumour_slices: int
    key: str | None = None
    notes: tuple[str, ...] = ()


def read_label_maps(cases: Iterable[Case]) -> dict[str, LabelMap | str | None]:
    """The label map of each case, None if it has none, or why the case cannot be used.

    Of slices, the images must be of one size, and that of their masks.
    """
    return _read(cases, _read_case)


def read_values(cases: Iterable[Case]) -> dict[str, Values | str]:
    """Values of each label map, by case, or why it cannot be read."""
    read = _read((case for case in cases if case.label), _read_label_map)
    return {name: one.values if isinstance(one, LabelMap) else one for name, one in read.items()}


def _read(cases: Iterable[Case], read_one: Callable[[Case], _T]) -> dict[str, _T | str]:
    """What `read_one` gives, by case, or why it cannot be read."""

    def attempt(case: Case) -> _T | str:
        try:
            with memory.in_words(f"case {case.case_id}"):
                return read_one(case)
        except VolsegError as error:
            return str(error)

    by_id = {case.case_id: case for case in cases}
    # Decompression lets go of Python's lock, so threads are enough.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = zip(by_id, pool.map(attempt, by_id.values()), strict=True)
        return dict(track(read, "reading label maps", len(by_id)))


def _read_label_map(case: Case) -> LabelMap:
    label_map, grid = read_reference(case)
    flat = label_map.ravel(order="K")
    # Few voxels are labelled: to work on these alone is many times faster.
    places = np.flatnonzero(flat)
    labels = flat[places]
    counts = np.bincount(labels, minlength=256)
    counts[0] = flat.size - places.size
    values = frozenset(np.flatnonzero(counts).tolist())
    key = _key(label_map.shape, places, labels) if labels.size >= _EVIDENCE else None
    return LabelMap(values, int(label_map.any(axis=(0, 1)).sum()), key, grid.notes)


def _key(
    shape: tuple[int, ...], places: npt.NDArray[np.intp], labels: npt.NDArray[np.uint8]
) -> str:
    """A hash of which voxels are labelled, integers being counted in the order they occur in."""
    found, first = np.unique(labels, return_index=True)
    rank = np.zeros(256, np.uint8)
    rank[found[np.argsort(first)]] = np.arange(found.size)
    digest = hashlib.blake2b(str(shape).encode(), digest_size=16)
    digest.update(places.tobytes())
    digest.update(rank[labels].tobytes())
    return digest.hexdigest()


def _read_case(case: Case) -> LabelMap | None:
    # The headers of volumes are looked at by `check`.
    grid = read_grid(case, case.channels) if case.is_stack else None
    if grid is not None and case.label and grid.shape != (size := read_reference_grid(case).shape):
        sizes = [" x ".join(map(str, shape[:2])) for shape in (grid.shape, size)]
        raise GeometryError(
            f"images have {sizes[0]} pixels, but their masks {sizes[1]}; give masks of that size"
        )
    return _read_label_map(case) if case.label else None


def empty_regions(values: Mapping[str, Values], schemes: Mapping[str, str]) -> tuple[str, ...]:
    """Warnings where label maps, or one of their regions, are empty in all or most cases.

    Args:
        values: Of the label map of each case.
        schemes: Label scheme of each case.
    """
    total = len(values)
    empty = sum(held <= {0} for held in values.values())
    if empty == total:
        return (
            f"all {total} label maps are empty (0 everywhere): nothing can be learnt from them, "
            "and a model that finds nothing would score 1; give label maps that hold the tumours",
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
