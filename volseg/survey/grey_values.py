"""Odd grey values of a cohort, from the first slices of all cases and all voxels of some cases."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from volseg.cases.case import Case
from volseg.errors import VolsegError
from volseg.progress import track

# Cases to read in full: out of all cases, and out of cases with an odd first slice.
_OF_ALL, _ODD = 8, 8
# Smallest share of a slice that its background value fills.
_FILLS = 0.25
_NO_VALUE = "none"


def borders(cases: Sequence[Case]) -> dict[str, tuple[str, ...]]:
    """Most frequent value of the first slice of each image, by case id, unless all are 0.

    Only the first slice of a file is decompressed. Cases that cannot be read are left out.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = track(pool.map(_border, cases), "reading first slices", len(cases))
        found = {case.case_id: border for case, border in zip(cases, read, strict=True)}
    return {case_id: border for case_id, border in found.items() if set(border) - {"0"}}


def _border(case: Case) -> tuple[str, ...]:
    try:
        return tuple(map(_filling, case.read_first_slices()))
    except VolsegError:
        return ()


def _filling(values: np.ndarray) -> str:
    corner = values.flat[0]
    if 2 * np.count_nonzero(values == corner) > values.size:  # no other value is more frequent
        return f"{corner:.3g}"
    found, counts = np.unique(values, return_counts=True)
    fills = counts.max() >= _FILLS * values.size
    return f"{found[counts.argmax()]:.3g}" if fills else _NO_VALUE


def cases_to_read(cases: Sequence[Case], odd: Mapping[str, tuple[str, ...]]) -> list[Case]:
    """Cases to read in full: some spread evenly, and the first of each kind of odd slice."""
    chosen = {case.case_id: case for case in cases[:: -(-len(cases) // _OF_ALL) or 1]}
    first = {odd[case.case_id]: case for case in reversed(cases) if case.case_id in odd}
    for case in list(first.values())[::-1][:_ODD]:
        chosen.setdefault(case.case_id, case)
    return list(chosen.values())


def odd_borders(odd: Mapping[str, Iterable[str]], total: int) -> list[str]:
    """A sentence on cases whose background is not 0, if there are two or more."""
    names = [case_id for case_id, border in odd.items() if set(border) - {"0", _NO_VALUE}]
    if len(names) < 2:
        return []
    return [
        f"in {len(names)} of {total} cases, such as {names[0]} and {names[1]}, "
        "a value other than 0 fills the first slice"
    ]


def odd_backgrounds(cases: Sequence[Case]) -> tuple[str, ...]:
    """Sentences on odd backgrounds; only some of the cases are read in full."""
    found: dict[str, str] = {}
    odd = borders(cases)
    for case in cases_to_read(cases, odd):
        with contextlib.suppress(VolsegError):
            for channels, note in case.grey_value_notes():
                about = f"{', '.join(channels)}: {note}" if channels else note
                found.setdefault(note, f"case {case.case_id}: {about}")
    return (*found.values(), *odd_borders(odd, len(cases)))
