"""Commands `demo`, `split` and `check`; each imports its task when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volseg.cli.app import (
    EXIT_SOME_FAILED,
    EXIT_USER_ERROR,
    PREPARE,
    START,
    Config,
    LabelName,
    Names,
    Overrides,
    PatientRegex,
    app,
    complain,
)
from volseg.cli.tables import number, print_split, print_table, say

_PROBLEMS_SHOWN = 20


@app.command(rich_help_panel=START)
def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for scans, run, results and picture.")
    ] = Path("demo"),
) -> None:
    """See all of it work on synthetic scans, in minutes, without a GPU.

    Makes phantoms in BraTS layout, splits, trains, segments and scores them,
    and prints each command that it stands for, to be repeated on real scans.

    Example:
      volseg demo -o demo
    """
    from volseg.tasks.demo import demo as run_demo

    result = run_demo(output, on_step=say)
    print_table("Mean Dice", result.dice, [[number(dice, 3) for dice in result.dice.values()]])
    say(f"Picture: {result.picture}")
    say("Next, with scans of your own:  volseg split FOLDER -o list.json")


@app.command(rich_help_panel=PREPARE)
def split(  # noqa: PLR0913, PLR0917  (an option each)
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER", help="Folders of scans in any known layout."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="LIST.json", help="Data list to write.")
    ],
    folds: Annotated[int, typer.Option(min=2, help="Shares for cross-validation.")] = 5,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Label scheme of the label maps, such as brats2021, lgg or binary.",
            show_default="told from the file names where they tell it",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw of the folds.")] = 0,
    channels: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Contrasts that every case must have.",
            show_default="t1n,t1c,t2w,t2f; of 2D slices as their layout says",
        ),
    ] = None,
    patient_regex: PatientRegex = None,
    spacing: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="Size of a voxel of 2D slices in mm: along columns, rows and slices.",
            show_default="not known",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Table with a row for each patient, to be listed with the cases.",
            show_default=False,
        ),
    ] = None,
    group_columns: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Columns of the table to list.",
            show_default="those of 2 to 10 values, of TCGA the genomic clusters and the grade",
        ),
    ] = None,
    validate: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Patients of fold 0, all others in fold 1, as some publications split.",
            show_default="folds are drawn",
        ),
    ] = None,
    names: Names = None,
    label_name: LabelName = None,
) -> None:
    """Find cases in folders and share them out into folds by patient.

    Knows the file names of BraTS 2017 to 2025, of BIDS and public cohorts, of
    the Medical Segmentation Decathlon and of nnU-Net, and 2D slices (TIFF, PNG,
    JPEG, BMP): a folder for each patient, as LGG on Kaggle, or folders of images
    and masks. Renames and copies nothing. What is left out is listed with the
    reason; the exit code is 3 where it is a case.

    Examples:
      volseg split BraTS2021_Training_Data -o brats2021.json
      volseg split glioma2021 glioma2023 -o both.json --folds 3
      volseg split kaggle_3m -o lgg.json --table kaggle_3m/data.csv
      volseg split pairs -o pairs.json --patient-regex '(.+)_[0-9]+'
      volseg split folders -o list.json --patient-regex '([^/]+)/[^/]+$'
      volseg split clinic -o list.json --name t1c='*MPRAGE_GD*' --label-name _lesion
    """
    from volseg.tasks.split import SplitOptions
    from volseg.tasks.split import split as run_split

    options = SplitOptions(
        patient_regex=patient_regex,
        spacing_mm=_sizes(spacing) if spacing else None,
        table=table,
        group_columns=_words(group_columns),
        validation=_words(validate) or (),
        names=tuple(names or ()),
        label_name=label_name,
    )
    result = run_split(folders, output, folds, labels, seed, _words(channels), options)
    print_split(result)
    if result.finding.lost:
        raise typer.Exit(EXIT_SOME_FAILED)


def _words(listed: str | None) -> tuple[str, ...] | None:
    return tuple(word.strip() for word in listed.split(",")) if listed else None


def _sizes(listed: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in listed.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{listed!r} is no list of sizes; give three in mm, such as 1,1,5"
        ) from None


@app.command(rich_help_panel=PREPARE)
def check(config: Config, overrides: Overrides = None) -> None:
    """Try an experiment before it waits a day in a queue.

    Reads the config, the header of every scan, some label maps and one batch,
    trains a few steps, and reports shapes, memory, the time of a step and
    every problem at once.

    Example:
      volseg check configs/brats_unet.yaml data.data_root=FOLDER
    """
    from volseg.tasks.check import check as run_check

    result = run_check(config, overrides or [])
    print_table("Check", ("", ""), result.facts)
    for problem in result.problems[:_PROBLEMS_SHOWN]:
        complain(problem)
    if len(result.problems) > _PROBLEMS_SHOWN:
        complain(f"and {len(result.problems) - _PROBLEMS_SHOWN} more problems")
    if result.problems:
        raise typer.Exit(EXIT_USER_ERROR)
    for warning in result.warnings:
        say(f"Warning: {warning}")
    say("Nothing stops this training." if result.warnings else "No problem was found.")
