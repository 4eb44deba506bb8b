"""CSV files of a comparison: statistics as a tidy table, pairs, and Dice of each patient."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path

from volseg.comparison.scored_run import ScoredRun
from volseg.comparison.side_by_side import Comparison
from volseg.comparison.statistics import smallest_p
from volseg.files.writing import atomic_write

#: Files that `write_tables` writes.
TABLES = ("comparison.csv", "pairs.csv", "patients.csv")

_STATISTICS = "run,network,region,score,over,n,mean,median,low,high"
_PAIRS = "region,first,second,n_patients,mean_difference,median_difference,p,p_holm,smallest_p"
_PATIENTS = "region,patient_id,run,dice,missing_channels"


def write_tables(comparison: Comparison, folder: Path) -> None:
    """Write the `TABLES` into `folder`, which exists.

    Raises:
        OutputError: If a file cannot be written.
    """
    statistics, of_pairs, of_patients = (folder / name for name in TABLES)
    _write(statistics, _STATISTICS, _tidy_rows(comparison))
    pairs = ((*astuple(pair), smallest_p(pair.n)) for pair in comparison.pairs)
    _write(of_pairs, _PAIRS, pairs)
    _write(of_patients, _PATIENTS, _patient_rows(comparison))


def _tidy_rows(comparison: Comparison) -> Iterator[tuple[object, ...]]:
    for run in comparison.runs:
        who = (run.name, run.network)
        for region in comparison.regions:
            for score in comparison.scores:
                found = comparison.statistics(run, region, score.name)
                rounded = (score.rounded(value) for value in astuple(found)[1:])
                yield (*who, region, score.name, "patients", found.n, *rounded)
            for kind, means in comparison.slices(run).get(region, {}).items():
                for score in comparison.scores:
                    mean = score.rounded(means.get(score.name))
                    yield (*who, region, score.name, kind, means["n"], mean, None, None, None)
        yield from ((*who, *row) for row in _other_rows(comparison, run))


def _other_rows(comparison: Comparison, run: ScoredRun) -> Iterator[tuple[object, ...]]:
    """Rows of loss and cost, without region; low and high of the time are the quartiles."""
    loss = comparison.loss(run)
    if loss is not None:
        yield ("", "loss", "cases", len(comparison.cases), loss, None, None, None)
    cost = comparison.costs.get(run.name)
    if cost:
        over = f"{cost.unit} {cost.size}"
        yield ("", "parameters", "network", 1, cost.parameters, None, None, None)
        yield ("", "multiply_adds", over, 1, cost.multiply_adds, None, None, None)
        yield ("", "milliseconds", over, cost.rounds, None, cost.milliseconds, *cost.quartiles)


def _patient_rows(comparison: Comparison) -> Iterator[tuple[object, ...]]:
    missing = comparison.missing_channels
    for region in comparison.regions:
        for run in comparison.runs:
            for patient, dice in comparison.by_patient(run, region, "dice").items():
                yield (region, patient, run.name, dice, " ".join(missing.get(patient, ())))


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
