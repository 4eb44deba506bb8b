"""Cases that show the same scan under two names, joined as one patient."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence

from volseg.cases.case import Case
from volseg.cases.joined_patients import join_patients
from volseg.survey.label_maps import LabelMap
from volseg.survey.likeness import alike
from volseg.survey.same_files import image_keys


def joined(
    cases: Sequence[Case], label_maps: Mapping[str, LabelMap]
) -> tuple[tuple[Case, ...], tuple[str, ...], tuple[str, ...]]:
    """Cases with the same scan joined as one patient, notes on the joins, and warnings.

    Args:
        cases: All cases.
        label_maps: Facts of their label maps by case id.
    """
    total, cases = len(cases), tuple(cases)
    labelled = [case for case in cases if case.label]
    by_label = {name: {one.key} for name, one in label_maps.items() if one.key is not None}
    notes, all_same = [], []
    for what, keys, members in (
        ("label map", by_label, labelled),
        ("images", image_keys(cases), cases),
        ("image, though stored otherwise", _keys_of_pairs(alike(labelled, label_maps)), labelled),
    ):
        shared = _shared_by_all(keys, members)
        if shared:
            all_same.append(what)
        own = {name: set(of_case) - shared for name, of_case in keys.items()}
        cases, pairs = join_patients(cases, own)
        for first, second in pairs[:1]:
            found = f"{_pairs(len(pairs))}, such as {first} and {second}"
            notes.append(f"{found}: the same {what}, so taken as one patient")
    warnings = [
        f"all {total} cases have the same {' and the same '.join(all_same)}: copies of "
        "one scan, or placeholders; scores on this list say nothing about other scans"
    ]
    return cases, tuple(notes), tuple(warnings if all_same else ())


def _shared_by_all(
    keys: Mapping[str, Collection[Hashable]], cases: Sequence[Case]
) -> set[Hashable]:
    """Keys that all cases share, which then do not join patients; empty below three patients."""
    if len({case.patient_id for case in cases}) < 3:
        return set()
    return set.intersection(*(set(keys.get(case.case_id, ())) for case in cases))


def _keys_of_pairs(pairs: Iterable[tuple[Case, Case]]) -> dict[str, set[Hashable]]:
    keys: dict[str, set[Hashable]] = {}
    for one, two in pairs:
        for case in (one, two):
            keys.setdefault(case.case_id, set()).add((one.case_id, two.case_id))
    return keys


def _pairs(number: int) -> str:
    return "1 pair of cases" if number == 1 else f"{number} pairs of cases"
