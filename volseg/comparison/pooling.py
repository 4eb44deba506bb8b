"""Folds of a cross-validation, pooled into one run in which each patient is scored once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from volseg.cases.identity import patient_key, patient_of
from volseg.comparison.scored_run import (
    ScoredRun,
    SliceMeans,
    has_ended,
    parse,
    read_scores,
)
from volseg.errors import DataListError
from volseg.metrics.official.protocol import Protocol
from volseg.metrics.record import SUMMARY_FILE
from volseg.results.trained_cases import TRAINED_CASES

_FOLD = re.compile(r"fold\d+")


@dataclass(frozen=True)
class Folds:
    """Runs to compare as one run: the folds of one cross-validation.

    Attributes:
        name: Name in the tables.
        runs: Run folders, or folders that `evaluate` wrote, one for each fold.
    """

    name: str
    runs: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{self.name}={','.join(map(str, self.runs))}"


def folds_within(folder: Path) -> tuple[Path, ...]:
    """Folders `fold0`, `fold1`, ... that `fit --folds` made, by number; empty for other folders."""
    if (folder / SUMMARY_FILE).exists():
        return ()
    folds = [path for path in folder.iterdir() if _FOLD.fullmatch(path.name) and path.is_dir()]
    return tuple(sorted(folds, key=lambda path: int(path.name[4:])))


def read_folds(folds: Folds, protocol: Protocol | None = None) -> ScoredRun:
    """One run with the cases of all folds.

    Args:
        folds: The folds.
        protocol: Protocol of the scores; None: our own.

    Raises:
        DataListError: If a folder has no scores, a patient is in two folds, or the folds have
            different networks or regions.
    """
    summaries = {path: read_scores(path) for path in folds.runs}
    runs = [parse(summary, path, path.name, protocol) for path, summary in summaries.items()]
    patients = {case: name for run in runs for case, name in run.patients.items()}
    _check_patients(folds, runs, patients)
    _check_alike(folds, runs)
    united = _united(list(summaries.values()), ("cases", "losses", "missing_channels"))
    merged = {
        **united,
        "network": runs[0].network,
        "slices": _pooled_slices([run.slices for run in runs]),
        "protocols": _pooled_protocol(list(summaries.values()), protocol),
        TRAINED_CASES: _pooled_training(list(summaries.values())),
    }
    return replace(
        parse(merged, folds.runs[0], folds.name, protocol),
        patients=patients,
        ended=all(has_ended(path) for path in folds.runs),
        folds=tuple(path.name for path in folds.runs),
    )


def _united(parts: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Entries by case of all parts, under each name."""
    return {
        name: {case: value for part in parts for case, value in (part.get(name) or {}).items()}
        for name in names
    }


def _pooled_training(summaries: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Cases of all parts by the run that was trained on them."""
    found: dict[str, list[str]] = {}
    for summary in summaries:
        for run, case_ids in (summary.get(TRAINED_CASES) or {}).items():
            found.setdefault(run, []).extend(case_ids)
    return found


def _pooled_protocol(
    summaries: Sequence[Mapping[str, Any]], protocol: Protocol | None
) -> dict[str, Any]:
    if protocol is None:
        return {}
    parts = [summary["protocols"][protocol.name] for summary in summaries]
    united = _united(parts, ("cases", "failed"))
    missing = [case for part in parts for case in part["missing"]]
    return {protocol.name: {**united, "missing": missing, "summary": parts[0]["summary"]}}


def _check_patients(folds: Folds, runs: Sequence[ScoredRun], patients: Mapping[str, str]) -> None:
    first: dict[str, Path] = {}
    for path, run in zip(folds.runs, runs, strict=True):
        for case in (*run.cases, *run.unscored):
            patient = patients.get(case) or patient_of(case)
            other = first.setdefault(patient_key(patient), path)
            if other != path:
                raise DataListError(
                    f"{folds.name}: patient {patient} is in {other} and in {path}, but the folds "
                    "of a cross-validation share no patient",
                    remedy="give the folds of one cross-validation",
                )


def _check_alike(folds: Folds, runs: Sequence[ScoredRun]) -> None:
    for path, run in zip(folds.runs, runs, strict=True):
        for what, own, of_first in (
            ("regions", " ".join(run.regions), " ".join(runs[0].regions)),
            ("network", run.network or "not known", runs[0].network or "not known"),
        ):
            if own != of_first:
                raise DataListError(
                    f"{folds.name}: {what} of {path}: {own}, of {folds.runs[0]}: {of_first}",
                    remedy="give the folds of one cross-validation",
                )


def _pooled_slices(slices: Sequence[SliceMeans]) -> SliceMeans:
    """Means over the slices of all folds; empty if a fold has no slices."""
    if not all(slices):
        return {}
    return {
        region: {kind: _pooled_means([one[region][kind] for one in slices]) for kind in kinds}
        for region, kinds in slices[0].items()
    }


def _pooled_means(means: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Means of each score, weighted by the numbers of slices."""
    n = sum(of_fold["n"] for of_fold in means)
    with_slices = [of_fold for of_fold in means if of_fold["n"]]
    names = [name for name in means[0] if name != "n"]
    return {
        "n": n,
        **{
            name: sum(of_fold["n"] * of_fold[name] for of_fold in with_slices) / n if n else None
            for name in names
        },
    }
