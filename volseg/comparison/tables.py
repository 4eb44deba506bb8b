"""CSV files of a comparison: statistics as a tidy table, pairs, Dice of each patient, ranking."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path

from volseg.comparison.scored_run import ScoredRun
from volseg.comparison.side_by_side import Comparison
from volseg.comparison.statistics import Pair, smallest_p
from volseg.files.writing import atomic_write, remove

#: Files that `write_tables` writes.
TABLES = ("comparison.csv", "pairs.csv", "patients.csv")
#: Further files of two or more runs.
RANKING_TABLES = ("ranking.csv", "ranking_pairs.csv", "case_ranks.csv")

_STATISTICS = "run,network,region,score,over,n,mean,median,low,high,mean_missing_as_worst"
_PAIRS = (
    "region,first,second,n_patients,mean_difference,median_difference,p,p_holm,smallest_p,score,"
    "better"
)
_PATIENTS = "region,patient_id,run"
_RANKING = "place,run,final_rank,n_cases,n_unscored"
_RANKING_PAIRS = "ahead,behind,n_patients,difference,p"
_CASE_RANKS = "case_id,patient_id,run,rank,status"


def write_tables(comparison: Comparison, folder: Path) -> None:
    """Write the `TABLES` into `folder`, which exists, and the `RANKING_TABLES` of several runs.

    Raises:
        OutputError: If a file cannot be written.
    """
    statistics, of_pairs, of_patients = (folder / name for name in TABLES)
    _write(statistics, _STATISTICS, _tidy_rows(comparison))
    _write(of_pairs, _PAIRS, (_pair_row(comparison, pair) for pair in comparison.pairs))
    scores = (score.name for score in comparison.tested_scores)
    heads = ",".join((_PATIENTS, *scores, "missing_channels"))
    _write(of_patients, heads, _patient_rows(comparison))
    _write_ranking(comparison, folder)


def _pair_row(comparison: Comparison, pair: Pair) -> tuple[object, ...]:
    *numbers, score = astuple(pair)
    return (*numbers, smallest_p(pair.n), score, comparison.better(pair))


def _write_ranking(comparison: Comparison, folder: Path) -> None:
    paths = [folder / name for name in RANKING_TABLES]
    if comparison.ranking is None:
        for path in paths:
            remove(path)
        return
    heads = (_RANKING, _RANKING_PAIRS, _CASE_RANKS)
    ranking, unscored = comparison.ranking, {r.name: r.unscored for r in comparison.runs}
    patients = {**comparison.cases, **comparison.unscored}
    final = (
        (ranking.place(run), run, rank, len(patients), len(patients.keys() & unscored[run].keys()))
        for run, rank in ranking.final.items()
    )
    of_pairs = (
        (pair.ahead, pair.behind, ranking.n_patients, pair.difference, pair.p)
        for pair in ranking.pairs
    )
    of_cases = (
        (case, patient, run, ranks[case], unscored[run].get(case, "scored"))
        for case, patient in patients.items()
        for run, ranks in ranking.cases.items()
    )
    for path, head, rows in zip(paths, heads, (final, of_pairs, of_cases), strict=True):
        _write(path, head, rows)


def _tidy_rows(comparison: Comparison) -> Iterator[tuple[object, ...]]:
    for run in comparison.runs:
        who = (run.name, run.network)
        for region in comparison.regions:
            for score in comparison.scores:
                found = comparison.statistics(run, region, score.name)
                values = (*astuple(found)[1:], comparison.mean_of_all(run, region, score))
                yield (*who, region, score.name, "patients", found.n, *map(score.rounded, values))
            for kind, means in comparison.slices(run).get(region, {}).items():
                for score in comparison.scores:
                    mean = score.rounded(means.get(score.name))
                    yield (*who, region, score.name, kind, means["n"], mean, *[None] * 4)
        yield from ((*who, *row) for row in _other_rows(comparison, run))


def _other_rows(comparison: Comparison, run: ScoredRun) -> Iterator[tuple[object, ...]]:
    """Rows of loss and cost, without region; low and high of the time are the quartiles."""
    loss = comparison.loss(run)
    if loss is not None:
        yield ("", "loss", "cases", len(comparison.cases), loss, *[None] * 4)
    cost = comparison.costs.get(run.name)
    if cost:
        over = f"{cost.unit} {cost.size}"
        yield ("", "parameters", "network", 1, cost.parameters, *[None] * 4)
        yield ("", "multiply_adds", over, 1, cost.multiply_adds, *[None] * 4)
        time = (None, cost.milliseconds, *cost.quartiles, None)
        yield ("", "milliseconds", over, cost.rounds, *time)


def _patient_rows(comparison: Comparison) -> Iterator[tuple[object, ...]]:
    missing = comparison.missing_channels
    for region in comparison.regions:
        for run in comparison.runs:
            values = [
                comparison.by_patient(run, region, score.name) for score in comparison.tested_scores
            ]
            for patient in comparison.patients:
                channels = " ".join(missing.get(patient, ()))
                yield (region, patient, run.name, *(of.get(patient) for of in values), channels)


def _write(path: Path, heads: str, rows: Iterable[Sequence[object]]) -> None:
    with (
        atomic_write(path) as unfinished,
        unfinished.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(heads.split(","))
        writer.writerows([_cell(value) for value in row] for row in rows)


def _cell(value: object) -> object:
    """A value with at most eight digits if it is a float, without rounding noise."""
    return f"{value:.8g}" if isinstance(value, float) else value
