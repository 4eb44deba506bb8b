"""Odd grey values of a cohort, found in some cases that are read whole and in all first slices."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from volseg.cases.case import Case
from volseg.errors import VolsegError
from volseg.progress import track

# Cases that are read whole: out of all, and out of those with an odd first slice.
_OF_ALL, _ODD = 8, 8
# Share of a slice that one value must fill to be its background.
_FILLS = 0.25
_NO_VALUE = "none"


def borders(cases: Sequence[Case]) -> dict[str, tuple[str, ...]]:
    """What fills the first slice of each image, by `case_id`, of cases in which it is not just 0.

    Only the beginning of a file is unpacked. Cases that cannot be read are left out.
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
    if 2 * np.count_nonzero(values == corner) > values.size:  # then no other is more frequent
        return f"{corner:.3g}"
    found, counts = np.unique(values, return_counts=True)
    fills = counts.max() >= _FILLS * values.size
    return f"{found[counts.argmax()]:.3g}" if fills else _NO_VALUE


def cases_to_read(cases: Sequence[Case], odd: Mapping[str, tuple[str, ...]]) -> list[Case]:
    """Some cases, spread evenly over all, and the first case of each kind of odd first slice."""
    chosen = {case.case_id: case for case in cases[:: -(-len(cases) // _OF_ALL) or 1]}
    first = {odd[case.case_id]: case for case in reversed(cases) if case.case_id in odd}
    for case in list(first.values())[::-1][:_ODD]:
        chosen.setdefault(case.case_id, case)
    return list(chosen.values())


def odd_borders(odd: Mapping[str, Iterable[str]], total: int) -> list[str]:
    """A sentence on cases whose background is not 0, if there are several."""
    names = [case_id for case_id, border in odd.items() if set(border) - {"0", _NO_VALUE}]
    if len(names) < 2:
        return []
    return [
        f"in {len(names)} of {total} cases, such as {names[0]} and {names[1]}, "
        "another value than 0 fills the first slice"
    ]


def odd_backgrounds(cases: Sequence[Case]) -> tuple[str, ...]:
    """Sentences on odd backgrounds; some of the cases are read whole."""
    found: dict[str, str] = {}
    odd = borders(cases)
    for case in cases_to_read(cases, odd):
        with contextlib.suppress(VolsegError):
            for note in case.grey_value_notes():
                found.setdefault(note.partition(": ")[2] or note, f"case {case.case_id}: {note}")
    return (*found.values(), *odd_borders(odd, len(cases)))
