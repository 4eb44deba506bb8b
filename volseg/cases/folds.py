"""Sharing cases out into folds, patient by patient."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from volseg.cases.case import Case
from volseg.cases.identity import patient_key
from volseg.errors import DataListError


def assign_folds(
    cases: Sequence[Case],
    folds: int,
    seed: int,
    weights: Mapping[str, float] | None = None,
    strata: Mapping[str, str] | None = None,
) -> tuple[Case, ...]:
    """Give each case a fold, so that all cases of a patient share one.

    Patients that weigh more come first, equal ones in an order drawn by `seed`, and each goes to
    the fold with the fewest patients of its stratum, of those to the one that weighs least. So the
    folds of one stratum differ by no more than one patient weighs. The order is that of a hash: the
    streams of numpy's generators may change between its versions.

    Args:
        cases: Cases to share out.
        folds: Number of folds.
        seed: Another seed gives other folds.
        weights: What each case weighs, by `case_id`, such as its slices with tumour; None: each
            weighs the same.
        strata: What is to be in every fold alike, by `case_id`, such as the institution; None:
            nothing. The first case of a patient tells that of the patient.

    Returns:
        The cases in the given order, each with its fold.

    Raises:
        DataListError: If there are fewer patients than folds.
    """
    sizes = Counter(case.patient_id for case in cases)
    if len(sizes) < folds:
        remedy = f"use --folds {len(sizes)}" if len(sizes) > 1 else "add scans of other patients"
        patients_of = "patient" if len(sizes) == 1 else "patients"
        raise DataListError(
            f"{len(sizes)} {patients_of} with a label map cannot fill {folds} folds", remedy=remedy
        )
    weight_of: dict[str, float] = defaultdict(float)
    stratum_of: dict[str, str] = {}
    for case in cases:
        weight_of[case.patient_id] += 1 if weights is None else weights.get(case.case_id, 0)
        stratum_of.setdefault(case.patient_id, (strata or {}).get(case.case_id, ""))
    weight, filled = [0.0] * folds, [0] * folds
    patients: Counter[tuple[int, str]] = Counter()
    fold_of = {}
    for patient in sorted(sizes, key=lambda patient: (-weight_of[patient], _drawn(patient, seed))):
        stratum = stratum_of[patient]
        alike = [patients[fold, stratum] if strata else 0 for fold in range(folds)]
        load = list(zip(alike, weight, filled, strict=True))
        fold = load.index(min(load))
        patients[fold, stratum] += 1
        weight[fold] += weight_of[patient]
        filled[fold] += sizes[patient]
        fold_of[patient] = fold
    return tuple(replace(case, fold=fold_of[case.patient_id]) for case in cases)


def hold_out(cases: Sequence[Case], names: Sequence[str]) -> tuple[Case, ...]:
    """Give the patients in `names` fold 0, to validate on, and all others fold 1.

    Args:
        cases: Cases to share out.
        names: Patients, or cases, which stand for their patient.

    Raises:
        DataListError: If a name is unknown, or no patient is left to train on.
    """
    patient_of = {patient_key(case.case_id): case.patient_id for case in cases}
    patient_of |= {patient_key(patient): patient for patient in patient_of.values()}
    if unknown := [name for name in names if patient_key(name) not in patient_of]:
        raise DataListError(
            f"{', '.join(unknown)} to validate on: no such patient or case with a label map",
            remedy=f"they are called as {cases[0].patient_id}",
        )
    held_out = {patient_of[patient_key(name)] for name in names}
    if held_out >= set(patient_of.values()):
        raise DataListError("every patient is to be validated on", remedy="leave some to train on")
    return tuple(replace(case, fold=int(case.patient_id not in held_out)) for case in cases)


def _drawn(patient: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {patient}".encode()).digest()
