"""Joining of patients whose cases turn out to be of one person."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace

from volseg.cases.case import Case


def join_patients(
    cases: Sequence[Case], keys: Mapping[str, Collection[Hashable]]
) -> tuple[tuple[Case, ...], list[tuple[str, str]]]:
    """Join patients of cases that share a key, with all other cases of these patients.

    Args:
        cases: Cases of any patients.
        keys: Keys of each case, by `case_id`; cases without keys are not joined.

    Returns:
        The cases in the given order, and two cases for each pair of joined patients.
    """
    patient_of = {case.patient_id: case.patient_id for case in cases}
    first: dict[Hashable, Case] = {}
    joined = []
    for case in cases:
        for key in sorted(keys.get(case.case_id, ()), key=repr):
            other = first.setdefault(key, case)
            one, two = sorted((_root(patient_of, case), _root(patient_of, other)))
            if one != two:
                patient_of[two] = one
                joined.append((other.case_id, case.case_id))
    return tuple(replace(case, patient_id=_root(patient_of, case)) for case in cases), joined


def _root(patient_of: Mapping[str, str], case: Case) -> str:
    patient = case.patient_id
    while patient_of[patient] != patient:
        patient = patient_of[patient]
    return patient
