"""Command `evaluate`, and the tables of its scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.cli.app import EXIT_SOME_FAILED, TRAIN, command, fail_if_some_failed
from volseg.cli.next_steps import RUN, SCANS, line, next_steps
from volseg.cli.options import DataRoot, Fold
from volseg.cli.report_option import WithReport, check_report, write_and_name
from volseg.cli.score_tables import (
    print_agreement,
    print_calibration,
    print_protocol,
    print_statistics,
    text_of,
)
from volseg.cli.tables import print_table, say
from volseg.errors import ConfigError
from volseg.words import cases_in_words

if TYPE_CHECKING:
    from volseg.metrics import ScoreTable
    from volseg.tasks.evaluate import EvaluateResult

# Up to this number of cases, the scores of each case are shown by default.
_FEW_CASES = 10


@command(TRAIN)
def evaluate(  # noqa: PLR0913, PLR0917  (an option each)
    predictions: Annotated[
        list[Path],
        typer.Argument(
            metavar="PREDICTIONS",
            help="Folder of label maps or masks, as infer writes; several folders of different "
            "cases, such as those of folds, are scored together. With --channels, a model.",
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
            show_default="from manifest.json",
        ),
    ] = None,
    reference_labels: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Label scheme of the reference.",
            show_default="from the data list, or by file names and values",
        ),
    ] = None,
    fold: Fold = None,
    data_root: DataRoot = None,
    slices: Annotated[
        bool,
        typer.Option("--slices", help="Score the slices of volumes too; 2D images always are."),
    ] = False,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol",
            metavar="NAME",
            help="Official BraTS protocol whose scores are added to ours, such as brats2023-gli; "
            "repeat it, or separate names with commas.",
            show_default="volseg, our own scores",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            metavar="N",
            help="Most processes that score cases at once.",
            show_default="one a core, if there is enough work",
        ),
    ] = None,
    channels: Annotated[
        list[str] | None,
        typer.Option(
            "--channels",
            metavar="A,B,...",
            help="Score a model on cases reduced to these channels; repeat it, or give all for "
            "every subset of the channels.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE",
            help="With --channels: auto, cpu, cuda, cuda:1 or mps.",
            show_default="auto",
        ),
    ] = None,
    report: WithReport = False,
    cases: Annotated[
        bool | None,
        typer.Option(
            "--cases/--no-cases",
            help="Show the scores of each case.",
            show_default=f"with up to {_FEW_CASES} cases",
        ),
    ] = None,
) -> None:
    """Score label maps by region: overlap, surface distance, volume.

    As in BraTS, two empty masks get the best value of each score, and a
    single empty mask the worst (HD95: 373.13 mm); scores.json holds all
    definitions. If a prediction is missing or a case cannot be scored, it is
    listed and counted, and the exit code is 3.

    2D images are scored twice: the slices of a patient as one volume, and each
    slice, with the mean over slices with tumour and the mean over all slices.
    If the data list has groups of patients, each group is scored.

    --protocol adds the scores of an official BraTS program, with its rules for
    lesions; label maps are converted into the label scheme of the program.

    --channels scores a model instead of label maps: each case of REFERENCE is
    segmented as if it had only the named channels. channels.csv and
    channels.json hold the Dice of each subset.

    Examples:
      volseg evaluate results data/validation -o scores
      volseg evaluate results brats2021.json -o scores --labels brats2023
      volseg evaluate results lgg.json --fold 0 -o scores
      volseg evaluate results brats2021.json -o scores --protocol brats2023-gli
      volseg evaluate results_0 results_1 results_2 lgg.json -o scores
      volseg evaluate runs/brats_unet list.json --fold 0 --channels all -o scores
      volseg evaluate model.safetensors scans --channels t1c,t2f --channels t1c -o scores
    """
    if channels:
        others: dict[str, object] = {"--labels": labels, "--slices": slices, "--protocol": protocol}
        others |= {"--workers": workers, "--report": report, "--cases": cases}
        _check_alone("--channels", others)
        _evaluate_channels(
            *(predictions, reference, output, channels, reference_labels, fold, data_root),
            device or "auto",
        )
        return
    from volseg.tasks.evaluate import evaluate as run_evaluate

    if device:
        raise ConfigError(
            "--device is for --channels, as label maps are scored on the CPU", remedy="leave it out"
        )
    check_report(output, asked=report)
    result = run_evaluate(
        *(predictions, reference, output, labels, reference_labels, fold, data_root),
        slices=slices,
        protocols=protocol or (),
        workers=workers,
    )
    print_scores(result, cases=cases)
    not_drawn = write_and_name(output, asked=report)
    fail_if_some_failed([*result.failures, *not_drawn.items()])
    if result.missing:
        raise typer.Exit(EXIT_SOME_FAILED)
    compare = line("volseg", "compare", output, RUN, "-o", "comparison")
    next_steps({"compare with other runs": [compare]})


def _check_alone(option: str, others: Mapping[str, object]) -> None:
    """Refuse, with ConfigError, options that have no effect beside `option`."""
    given = [name for name, value in others.items() if value not in (None, False)]
    if given:
        raise ConfigError(
            f"{', '.join(given)} has no effect with {option}, which scores Dice alone",
            remedy="leave it out" if len(given) == 1 else "leave them out",
        )


def _evaluate_channels(  # noqa: PLR0913, PLR0917  (an option each)
    models: list[Path],
    data: Path,
    output: Path,
    channels: list[str],
    reference_labels: str | None,
    fold: int | None,
    data_root: Path | None,
    device: str,
) -> None:
    from volseg.cli.channel_tables import print_channels
    from volseg.tasks.evaluate_channels import DOCUMENT_FILE, TABLE_FILE, evaluate_channels

    result = evaluate_channels(
        models, data, output, channels, reference_labels, fold, data_root, device=device
    )
    print_channels(result)
    say(f"Written to {output}: {TABLE_FILE}, {DOCUMENT_FILE}")
    fail_if_some_failed(result.failures)
    if result.takes_missing:
        of_models = [word for model in models for word in ("-m", model)]
        infer = line("volseg", "infer", SCANS, *of_models, "-o", "results")
        next_steps({"segment cases without some channels": [infer]})
    else:
        fit = line("volseg", "fit", "CONFIG", "data.channel_dropout=0.5")
        next_steps({"train for cases without some channels": [fit]})


def print_scores(result: EvaluateResult, *, cases: bool | None = None) -> None:
    """Print the scores by case, region, slice and group, and the cases without scores.

    Args:
        result: Result of `evaluate`.
        cases: Whether each case is shown; None: only if there are few.
    """
    from volseg.metrics import RATED_SCORES

    summary = result.table.summary()
    _print_cases(result.table, cases)
    with_missing = bool(result.missing or result.failures)
    title = "Scores by case, each as one volume"
    print_statistics(title, summary, RATED_SCORES, with_missing=with_missing)
    counts = ("n_cases", "n_empty_reference", "n_empty_prediction", "n_missing", "n_failed")
    print_table(
        "Number of cases",
        ("region", "scored", "empty reference", "empty prediction", "missing", "failed"),
        [
            (region, *(of_region[count] for count in counts))
            for region, of_region in summary.items()
        ],
    )
    _print_slices(result)
    _print_groups(result)
    for record in result.record.protocols:
        print_protocol(record)
    _print_missing_channels(result)
    print_agreement(result.predicted_dice)
    print_calibration(result.record.calibration)
    if unsized := [
        r for r in result.table.rows if r["dice"] is not None and r["volume_ml"] is None
    ]:
        counted = cases_in_words(len({row.case_id for row in unsized}))
        say(f"Without mm and ml, as the voxel size is not known: {counted}")
    for note in result.notes:
        say(f"Note: {note}")
    if result.missing:
        say(f"Missing, as there is no prediction: {', '.join(result.missing)}")
    if result.without_reference:
        say(f"Not scored, as there is no reference: {', '.join(result.without_reference)}")
    say(f"Written to {result.output}: {', '.join(result.files)}")


def _print_cases(table: ScoreTable, asked: bool | None) -> None:
    from volseg.metrics import RATED_SCORES

    scored = table.cases("scored")
    if not scored or asked is False or (asked is None and len(scored) > _FEW_CASES):
        return
    rows = [
        (row.case_id, row.region, *(score.text(row[score.name]) for score in RATED_SCORES))
        for row in table.rows
        if row.status == "scored"
    ]
    print_table("Cases", ("case", "region", *(score.heading for score in RATED_SCORES)), rows)


def _print_slices(result: EvaluateResult) -> None:
    from volseg.metrics import COUNTED_SCORES

    kinds = {
        "tumour_slices": "with tumour in the reference",
        "all_slices": "all, empty in both counts as 1",
    }
    slices = result.record.slices
    intervals = slices.intervals(result.table.patients)
    rows = [
        (
            region if kind == "tumour_slices" else "",
            name,
            means[kind]["n"],
            *(score.text(means[kind][score.name]) for score in COUNTED_SCORES),
            text_of(COUNTED_SCORES[0], intervals[region][kind][COUNTED_SCORES[0].name]),
        )
        for region, means in slices.summary().items()
        for kind, name in kinds.items()
    ]
    if rows:
        headings = (score.heading for score in COUNTED_SCORES)
        columns = ("region", "slices", "number", *headings, "95 % interval of Dice")
        print_table("By slice, means", columns, rows)


def _print_groups(result: EvaluateResult) -> None:
    from volseg.metrics import get_score

    dice = get_score("dice")
    rows = [
        (
            *(r.column, r.value, r.region, r.n),
            *(text_of(dice, of["dice"]) for of in (r.mean, r.median, r.interval)),
        )
        for r in result.record.by_group.rows
    ]
    if rows:
        columns = (
            *("column", "value", "region", "cases"),
            *("mean Dice", "median Dice", "95 % interval of the mean"),
        )
        print_table("By group", columns, rows)


def _print_missing_channels(result: EvaluateResult) -> None:
    from volseg.metrics import get_score

    regions, text = result.table.regions, get_score("dice").text
    dice = {(row.case_id, row.region): row["dice"] for row in result.table.rows}
    rows = [
        (case_id, " ".join(names), *(text(dice.get((case_id, name))) for name in regions))
        for case_id, names in result.record.missing_channels.items()
    ]
    if rows:
        columns = ("case", "missing channels", *(f"Dice {region}" for region in regions))
        print_table("Cases with missing channels", columns, rows)
