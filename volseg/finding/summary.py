"""Summaries of data lists and folders of scans, as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from volseg.cases.case import Case
from volseg.cases.data_list import read_data_list
from volseg.errors import GeometryError, VolsegError
from volseg.finding.finding import Finding

# Cases whose headers are read: a large data set lies on a slow disk, and is of one kind.
_GRIDS_READ = 10


def list_summary(path: Path) -> dict[str, Any]:
    """Numbers of cases of a data list, by fold and label scheme."""
    # No image is opened, so the list needs no real data root.
    data_list = read_data_list(path, path.parent)
    cases = (*data_list.training, *data_list.testing)
    folds = Counter(case.fold for case in data_list.training if case.fold is not None)
    schemes = Counter(case.labels or "as the config says" for case in cases if case.label)
    return {
        "name": data_list.name,
        "channels": list(data_list.channels),
        "training": len(data_list.training),
        "testing": len(data_list.testing),
        "patients": len({case.patient_id for case in cases}),
        "folds": {str(fold): folds[fold] for fold in sorted(folds)},
        "labels": dict(sorted(schemes.items())),
        **_stacks(cases),
    }


def folder_summary(finding: Finding) -> dict[str, Any]:
    """Numbers of cases found in folders, and left-out files with reasons."""
    stacks = all(case.slices for case in finding.cases)
    return {
        "kind": "folder of 2D slices" if stacks else "folder of scans",
        "cases": len(finding.cases),
        "patients": len({case.patient_id for case in finding.cases}),
        "labelled": sum(bool(case.label) for case in finding.cases),
        "layouts": dict(finding.layouts),
        "unregistered": _unregistered(finding.cases),
        **_stacks(finding.cases),
        "skipped": {str(skipped.path): skipped.sentence for skipped in finding.skipped},
    }


def _unregistered(cases: Sequence[Case]) -> list[str]:
    """Ids of cases, among the first, whose channels lie on different grids."""
    found = []
    for case in cases[:_GRIDS_READ]:
        try:
            case.read_grid(case.channels)
        except GeometryError:
            found.append(case.case_id)
        # Damaged files are named when they are read for a purpose.
        except VolsegError:
            continue
    return found


def _stacks(cases: Iterable[Case]) -> dict[str, Any]:
    """Numbers of slices, and groups of patients; empty without stacks."""
    stacks = [case for case in cases if case.slices]
    if not stacks:
        return {}
    slices: Counter[str] = Counter()
    for case in stacks:
        slices["no fold" if case.fold is None else str(case.fold)] += len(case.slices)
    facts: dict[str, Any] = {"slices": slices.total()}
    if set(slices) != {"no fold"}:
        facts["slices_by_fold"] = dict(sorted(slices.items()))
    institutions = {
        (case.patient_id, case.groups["institution"])
        for case in stacks
        if "institution" in case.groups
    }
    if institutions:
        facts["patients_by_institution"] = dict(sorted(Counter(i for _, i in institutions).items()))
    if columns := sorted({column for case in stacks for column in case.groups} - {"institution"}):
        facts["groups"] = columns
    return facts
