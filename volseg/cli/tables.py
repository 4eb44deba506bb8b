"""Results as tables and lines on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from volseg.cli.terminal import console, put, visible, written

if TYPE_CHECKING:
    from volseg.tasks.compare import CompareResult
    from volseg.tasks.evaluate import EvaluateResult
    from volseg.tasks.split import SplitResult

_OVERLAPS = ("dice", "iou", "precision", "recall")


def print_split(result: SplitResult) -> None:
    """Cases by layout, what was left out and why, label schemes, folds; warnings are in the log.

    Many files with one reason are one row, so that none hides the reason that matters.
    """
    finding, cases = result.finding, result.data_list.training
    print_table("Cases found", ("layout", "cases"), sorted(finding.layouts.items()))
    if finding.skipped:
        from volseg.finding.skipped import table_rows

        print_table("Left out", ("file or folder", "reason"), table_rows(finding.skipped))
    for sentence in (*result.decisions, *result.notes):
        say(sentence)
    say(f"{len(cases)} cases have a label map; {len(result.data_list.testing)} have none")
    columns, rows = _folds(result)
    print_table("Folds", columns, rows)
    say(f"Data list: {result.path}")


def _folds(result: SplitResult) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of the table of folds; slices and institutions where there are stacks."""
    cases = result.data_list.training
    stacks = any(case.is_stack for case in cases)
    institutions = sorted({c.groups["institution"] for c in cases if "institution" in c.groups})
    columns = ["fold", "cases", "patients"]
    columns += ["slices", "with tumour", *institutions] if stacks else []
    rows: list[list[object]] = []
    for fold in sorted({case.fold for case in cases if case.fold is not None}):
        members = [case for case in cases if case.fold == fold]
        row: list[object] = [fold, len(members), len({case.patient_id for case in members})]
        if stacks:
            sliced = [case for case in members if case.is_stack]
            row.append(sum(len(case.images) for case in sliced))
            row.append(sum(result.tumour_slices.get(case.case_id, 0) for case in sliced))
            patients = {(case.groups.get("institution"), case.patient_id) for case in members}
            row += [sum(of == name for of, _ in patients) for name in institutions]
        rows.append(row)
    return columns, rows


def print_scores(result: EvaluateResult) -> None:
    """Statistics by region, slice and group, counts of cases, and those without a score."""
    summary = result.table.summary()
    _print_statistics(summary, bool(result.missing or result.failures))
    counts = ("n_cases", "n_empty_reference", "n_empty_prediction", "n_missing", "n_failed")
    print_table(
        "Cases",
        ("region", "scored", "empty reference", "empty prediction", "missing", "failed"),
        [
            (region, *(of_region[count] for count in counts))
            for region, of_region in summary.items()
        ],
    )
    _print_slices(result)
    _print_groups(result)
    _print_missing_channels(result)
    if unsized := [r for r in result.table.rows if r.dice is not None and r.volume_ml is None]:
        cases = len({row.case_id for row in unsized})
        say(f"Without HD95 and volumes, as the size of their voxels is not known: {cases} cases")
    for note in result.notes:
        say(f"Note: {note}")
    for case_id in result.missing:
        say(f"Missing: {case_id} has no prediction")
    for name in result.without_reference:
        say(f"Not scored: {name} has no reference")
    names = ["scores.csv", "slices.csv"] if result.slices.rows else ["scores.csv"]
    names += ["groups.csv"] if result.by_group.rows else []
    say(f"Scores: {', '.join(str(result.output / name) for name in names)} and scores.json")


def _print_statistics(summary: Mapping[str, Any], some_unscored: bool) -> None:
    statistics = {"mean": "mean", "median": "median", "std": "std"}
    if some_unscored:
        statistics["mean_missing_as_worst"] = "mean, missing or failed as worst"
    scores = {**dict.fromkeys(_OVERLAPS, 3), "hd95_mm": 2}
    rows = [
        (
            *((region, name) if statistic == "mean" else ("", name)),
            *(number(of_region[score][statistic], digits) for score, digits in scores.items()),
        )
        for region, of_region in summary.items()
        for statistic, name in statistics.items()
    ]
    print_table("Scores by case, each as one volume", ("region", "", *scores), rows)


def _print_slices(result: EvaluateResult) -> None:
    kinds = {
        "tumour_slices": "with tumour in the reference",
        "all_slices": "all, empty on both sides counts 1",
    }
    rows = [
        (
            region if kind == "tumour_slices" else "",
            name,
            means[kind]["n"],
            *(number(means[kind][score], 3) for score in _OVERLAPS),
        )
        for region, means in result.slices.summary().items()
        for kind, name in kinds.items()
    ]
    if rows:
        print_table("By slice, means", ("region", "slices", "number", *_OVERLAPS), rows)


def _print_groups(result: EvaluateResult) -> None:
    rows = [
        (r.column, r.value, r.region, r.n, number(r.mean["dice"], 3), number(r.median["dice"], 3))
        for r in result.by_group.rows
    ]
    if rows:
        columns = ("column", "value", "region", "cases", "mean dice", "median dice")
        print_table("By group", columns, rows)


def _print_missing_channels(result: EvaluateResult) -> None:
    regions = result.table.regions
    dice = {(row.case_id, row.region): row.dice for row in result.table.rows}
    rows = [
        (case_id, " ".join(names), *(number(dice.get((case_id, name)), 3) for name in regions))
        for case_id, names in result.missing_channels.items()
    ]
    if rows:
        columns = ("case", "missing channels", *(f"dice {region}" for region in regions))
        print_table("Cases with missing channels", columns, rows)


def print_comparison(result: CompareResult) -> None:
    """The main table of each region, p-values of pairs, and what a reader has to know."""
    from volseg.comparison.report import REPORT, main_columns, main_rows, notes, signed

    comparison = result.comparison
    for region in comparison.regions:
        print_table(region, main_columns(comparison), main_rows(comparison, region), lines=True)
    if comparison.pairs:
        print_table(
            "Pairs",
            ("region", "runs", "difference of Dice", "p", "p (Holm)"),
            [
                (
                    *(pair.region, f"{pair.first} - {pair.second}"),
                    *(signed(pair.mean_difference), number(pair.p, 4), number(pair.p_holm, 4)),
                )
                for pair in comparison.pairs
            ],
        )
    for note in notes(comparison):
        say(note)
    say(f"Comparison: {result.output / REPORT}")


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


def print_table(
    title: str, columns: Iterable[str], rows: Iterable[Sequence[object]], *, lines: bool = False
) -> None:
    """A table on stdout; what does not fit the terminal is folded, never cut.

    Args:
        title: Heading.
        columns: Heads of the columns.
        rows: Cells of each row.
        lines: Whether cells have several lines.
    """
    from rich.markup import escape
    from rich.table import Table

    columns = list(columns)
    table = Table(title=title, title_justify="left", title_style="bold", show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = ([str(cell)] if not lines else str(cell).split("\n") for cell in row)
        table.add_row(*("\n".join(escape(visible(line)) for line in cell) for cell in cells))
    with written(sys.stdout):
        console(sys.stdout).print(table)


def number(value: float | None, digits: int) -> str:
    """A number for a table, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def as_yaml(facts: Mapping[str, Any]) -> str:
    """Plain data for people to read."""
    import yaml

    return yaml.safe_dump(dict(facts), sort_keys=False, default_flow_style=None, width=100).rstrip()


def say(line: str) -> None:
    """A line on stdout."""
    put(visible(line), sys.stdout)
