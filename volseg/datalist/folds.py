"""Sharing cases out into folds, patient by patient."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from volseg.datalist.case import Case
from volseg.errors import DataListError


def assign_folds(cases: Sequence[Case], folds: int, seed: int) -> tuple[Case, ...]:
    """Give each case a fold, so that all cases of a patient share one.

    Patients with more cases come first, in each group in an order drawn by `seed`, and each goes
    to the fold with the fewest cases. So folds differ by no more cases than one patient has. The
    order is that of a hash: the streams of numpy's generators may change between its versions.

    Args:
        cases: Cases to share out.
        folds: Number of folds.
        seed: Another seed gives other folds.

    Returns:
        The cases in the given order, each with its fold.

    Raises:
        DataListError: If there are fewer patients than folds.
    """
    sizes = Counter(case.patient_id for case in cases)
    if len(sizes) < folds:
        remedy = f"use --folds {len(sizes)}" if len(sizes) > 1 else "add scans of other patients"
        raise DataListError(
            f"{len(sizes)} patients with a label map cannot fill {folds} folds; {remedy}"
        )
    filled = [0] * folds
    fold_of = {}
    for patient in sorted(sizes, key=lambda patient: (-sizes[patient], _drawn(patient, seed))):
        fold = filled.index(min(filled))
        filled[fold] += sizes[patient]
        fold_of[patient] = fold
    return tuple(replace(case, fold=fold_of[case.patient_id]) for case in cases)


def _drawn(patient: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {patient}".encode()).digest()
