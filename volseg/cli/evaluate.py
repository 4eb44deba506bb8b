"""Command `evaluate`, and the tables of its scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from volseg.cli.app import EXIT_SOME_FAILED, TRAIN, command, fail_if_some_failed
from volseg.cli.options import DataRoot, Fold
from volseg.cli.tables import number, print_table, say

if TYPE_CHECKING:
    from volseg.tasks.evaluate import EvaluateResult

_OVERLAPS = ("dice", "iou", "precision", "recall")


@command(TRAIN)
def evaluate(  # noqa: PLR0913, PLR0917  (an option each)
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS", help="Folder of label maps or masks, as infer writes."
        ),
    ],
    reference: Annotated[
        Path,
        typer.Argument(
            metavar="REFERENCE", help="Folder of labelled cases or of masks, or a data list."
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for scores.csv and scores.json.")
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Label scheme of the predictions.",
            show_default="as manifest.json says",
        ),
    ] = None,
    reference_labels: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Label scheme of the reference.",
            show_default="as the data list says, or told by file names and values",
        ),
    ] = None,
    fold: Fold = None,
    data_root: DataRoot = None,
    slices: Annotated[
        bool,
        typer.Option(
            "--slices", help="Score the slices of volumes too; those of 2D images always are."
        ),
    ] = False,
) -> None:
    """Score label maps: Dice, IoU, precision, recall, HD95 and volumes.

    As in BraTS, two empty masks score 1 (HD95 0 mm) and a single empty one 0
    (HD95 373.13 mm). A missing prediction is listed and counted; as when a
    case cannot be scored, the exit code is then 3.

    Of 2D images, the slices of a patient are scored as one volume, and one by
    one: the mean over slices with tumour and that over all slices. Groups of
    patients that the data list knows are compared.

    Examples:
      volseg evaluate results data/validation -o scores
      volseg evaluate results brats2021.json -o scores --labels brats2023
      volseg evaluate results lgg.json --fold 0 -o scores
    """
    from volseg.tasks.evaluate import evaluate as run_evaluate

    result = run_evaluate(
        predictions, reference, output, labels, reference_labels, fold, data_root, slices=slices
    )
    print_scores(result)
    fail_if_some_failed(result.failures)
    if result.missing:
        raise typer.Exit(EXIT_SOME_FAILED)


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
    if unsized := [
        r for r in result.table.rows if r["dice"] is not None and r["volume_ml"] is None
    ]:
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
    dice = {(row.case_id, row.region): row["dice"] for row in result.table.rows}
    rows = [
        (case_id, " ".join(names), *(number(dice.get((case_id, name)), 3) for name in regions))
        for case_id, names in result.missing_channels.items()
    ]
    if rows:
        columns = ("case", "missing channels", *(f"dice {region}" for region in regions))
        print_table("Cases with missing channels", columns, rows)
