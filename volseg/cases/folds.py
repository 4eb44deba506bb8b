"""Assignment of cases to folds, patient by patient."""

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
    """Give each case a fold, so that all cases of a patient share a fold.

    Patients are assigned by decreasing weight, those of equal weight in an order drawn by `seed`.
    Each goes to the fold with the fewest patients of its stratum and, among these, the least
    weight. So folds differ by at most one patient in each stratum or, without strata, by at most
    the weight of one patient. The order comes from a hash, since the random streams of numpy may
    change between versions.

    Args:
        cases: Cases to assign.
        folds: Number of folds.
        seed: Another seed gives other folds.
        weights: Weight of each case, by `case_id`, such as its slices with tumour; None: equal
            weights.
        strata: Stratum of each case, by `case_id`, such as the institution, to be balanced over
            folds; None: no strata. The first case of a patient gives the stratum of the patient.

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
    """Give the patients in `names` fold 0, for validation, and all others fold 1.

    Args:
        cases: Cases to assign.
        names: Names of patients, or of cases, which mean their patient.

    Raises:
        DataListError: If a name is unknown, or no patient is left to train on.
    """
    patient_of = {patient_key(case.case_id): case.patient_id for case in cases}
    patient_of |= {patient_key(patient): patient for patient in patient_of.values()}
    if unknown := [name for name in names if patient_key(name) not in patient_of]:
        raise DataListError(
            f"{', '.join(unknown)} to validate on: no such patient or case with a label map",
            remedy=f"use names such as {cases[0].patient_id}",
        )
    held_out = {patient_of[patient_key(name)] for name in names}
    if held_out >= set(patient_of.values()):
        raise DataListError("no patient is left for training", remedy="hold out fewer patients")
    return tuple(replace(case, fold=int(case.patient_id not in held_out)) for case in cases)


def _drawn(patient: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {patient}".encode()).digest()
