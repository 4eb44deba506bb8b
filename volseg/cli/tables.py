"""Results as tables and lines on stdout."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from volseg.tasks.evaluate import EvaluateResult
    from volseg.tasks.split import SplitResult


def print_split(result: SplitResult) -> None:
    """Cases by layout, what was left out and why, label schemes, folds."""
    finding, cases = result.finding, result.data_list.training
    print_table("Cases found", ("layout", "cases"), sorted(finding.layouts.items()))
    if finding.skipped:
        print_table(
            "Left out", ("file or folder", "reason"), [(s.path, s.reason) for s in finding.skipped]
        )
    for decision in result.decisions:
        say(decision)
    say(f"{len(cases)} cases have a label map; {len(result.data_list.testing)} have none")
    sizes = Counter(case.fold for case in cases if case.fold is not None)
    patients = {fold: {c.patient_id for c in cases if c.fold == fold} for fold in sizes}
    print_table(
        "Folds",
        ("fold", "cases", "patients"),
        [(fold, sizes[fold], len(patients[fold])) for fold in sorted(sizes)],
    )
    say(f"Data list: {result.path}")


def print_scores(result: EvaluateResult) -> None:
    """Statistics by region, counts of cases, and the names of those without a score."""
    summary = result.table.summary()
    statistics = {"mean": "mean", "median": "median", "std": "std"}
    if result.missing or result.failures:
        statistics["mean_missing_as_worst"] = "mean, missing or failed as worst"
    scores = {"dice": 3, "iou": 3, "precision": 3, "recall": 3, "hd95_mm": 2}
    rows = [
        (
            *((region, name) if statistic == "mean" else ("", name)),
            *(number(of_region[score][statistic], digits) for score, digits in scores.items()),
        )
        for region, of_region in summary.items()
        for statistic, name in statistics.items()
    ]
    print_table("Scores", ("region", "", *scores), rows)
    counts = ("n_cases", "n_empty_reference", "n_empty_prediction", "n_missing", "n_failed")
    print_table(
        "Cases",
        ("region", "scored", "empty reference", "empty prediction", "missing", "failed"),
        [
            (region, *(of_region[count] for count in counts))
            for region, of_region in summary.items()
        ],
    )
    for case_id in result.missing:
        say(f"Missing: {case_id} has no prediction")
    for name in result.without_reference:
        say(f"Not scored: {name} has no reference")
    say(f"Scores: {result.output / 'scores.csv'} and scores.json")


def print_validation(scores: Mapping[str, float]) -> None:
    """Scores named `dice/WT`, as a table of regions and scores."""
    parts = [name.split("/") for name in scores if "/" in name]
    kinds = list(dict.fromkeys(kind for kind, _ in parts))
    regions = list(dict.fromkeys(region for _, region in parts))
    print_table(
        "Validation",
        ("region", *kinds),
        [(r, *(number(scores.get(f"{kind}/{r}"), 3) for kind in kinds)) for r in regions],
    )


def print_table(title: str, columns: Iterable[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout; what does not fit the terminal is folded, never cut."""
    from rich.markup import escape
    from rich.table import Table

    columns = list(columns)
    table = Table(title=title, title_justify="left", title_style="bold", show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    _console().print(table)


def number(value: float | None, digits: int) -> str:
    """A number for a table, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def as_yaml(facts: Mapping[str, Any]) -> str:
    """Plain data for people to read."""
    import yaml

    return yaml.safe_dump(dict(facts), sort_keys=False, default_flow_style=None, width=100).rstrip()


def _console() -> Any:
    from rich.console import Console

    # A file or a pipe has no width: nothing is folded there.
    return Console(width=None if sys.stdout.isatty() else 10_000)


def say(line: str) -> None:
    """A line on stdout."""
    _console().print(line, markup=False, highlight=False, soft_wrap=True)
