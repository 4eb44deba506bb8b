"""Notes for the reader of a comparison: what it compares, what is left out, what misleads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from volseg.comparison.scored_run import ScoredRun
from volseg.comparison.side_by_side import Comparison
from volseg.comparison.statistics import smallest_p
from volseg.words import number_of

_FEW_PATIENTS = 6


def notes(comparison: Comparison) -> Iterator[str]:
    """Notes for the reader of the tables."""
    if protocol := comparison.protocol:
        yield f"Scores of protocol {protocol.name}: {protocol.title}."
    patients = number_of(len(comparison.patients), "patient")
    cases = number_of(len(comparison.cases), "case")
    yield f"{patients} ({cases}), the same for every run."
    if comparison.pairs and (n := comparison.pairs[0].n) < _FEW_PATIENTS:
        yield f"{number_of(n, 'patient')}: p cannot fall below {smallest_p(n):g}."
    yield from _cases_without_scores(comparison)
    if others := comparison.other_references:
        more = f" and {len(others) - 1} more" if others[1:] else ""
        yield (
            f"The runs were scored against different references of {others[0]}{more}, as their "
            "numbers of voxels differ: the scores are not comparable."
        )
    for run in comparison.runs:
        yield from _notes_on_run(comparison, run)
    for patient, channels in comparison.missing_channels.items():
        yield f"Without {', '.join(channels)}: {patient}; zeros or another channel stand in."
    if not comparison.same_loss:
        yield "The runs were trained with different losses, whose values are not comparable."


def _cases_without_scores(comparison: Comparison) -> Iterator[str]:
    for reason, names in _by_reason(comparison.left_out).items():
        if names[0] in comparison.unscored:
            yield (
                f"Without scores: {', '.join(names)} ({reason}); not in the means and medians of "
                "scored cases; the worst score in the pairs and in the means with missing as "
                "worst; last in the ranking."
            )
        else:
            yield f"Left out: {', '.join(names)} ({reason})."


def _by_reason(left_out: Mapping[str, str]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        names.setdefault(reason, []).append(name)
    return names


def _notes_on_run(comparison: Comparison, run: ScoredRun) -> Iterator[str]:
    if run.folds:
        yield f"{run.name} is pooled from {len(run.folds)} runs: {', '.join(run.folds)}."
        if run.name in comparison.costs:
            yield f"Size and speed of {run.name} are those of {run.folds[0]}."
    if not run.ended:
        yield f"The training of {run.name} has not ended; its scores are preliminary."
    yield from (f"{run.name}: {doubt}." for doubt in run.doubts)
    if extra := [region for region in run.regions if region not in comparison.regions]:
        yield f"Not compared: {' '.join(extra)} of {run.name}, missing in another run."
    compared = {score.name for score in comparison.scores}
    if further := [name for name in run.scores if name not in compared]:
        yield f"Not compared: {' '.join(further)} of {run.name}, missing in another run."
