"""Command `split`, and the table of its folds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.cli.app import EXIT_SOME_FAILED, PREPARE, command
from volseg.cli.next_steps import line, next_steps
from volseg.cli.options import LabelName, Names, PatientRegex, SpacingMm, sizes
from volseg.cli.tables import print_table, say
from volseg.words import cases_in_words

if TYPE_CHECKING:
    from volseg.cases.data_list import DataList
    from volseg.tasks.split import SplitResult


_OF_ONE_CHANNEL = {"ct": "configs/ct_unet.yaml", "t2f": "configs/flair_unet.yaml"}
_FOR_VOLUMES, _FOR_CPUS = "configs/brats_unet.yaml", "configs/brats_laptop.yaml"


@command(PREPARE)
def split(  # noqa: PLR0913, PLR0917  (an option each)
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER", help="Folders of scans in any known layout."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="LIST.json", help="Data list to write.")
    ],
    folds: Annotated[int, typer.Option(min=2, help="Number of folds for cross-validation.")] = 5,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Label scheme of the label maps, such as brats2021, lgg or binary.",
            show_default="from the file names and the values",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random assignment to folds.")] = 0,
    channels: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Channels that every case must have; with --incomplete, one of them.",
            show_default="t1n,t1c,t2w,t2f; for 2D slices, from their layout",
        ),
    ] = None,
    patient_regex: PatientRegex = None,
    spacing: SpacingMm = None,
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Table with a row for each patient; its columns become groups in the data list.",
            show_default=False,
        ),
    ] = None,
    group_columns: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Columns of the table to keep.",
            show_default="columns with 2 to 10 values; for TCGA, genomic clusters and grade",
        ),
    ] = None,
    validate: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Patients of fold 0; all others are in fold 1.",
            show_default="folds are assigned at random",
        ),
    ] = None,
    names: Names = None,
    label_name: LabelName = None,
    incomplete: Annotated[
        bool,
        typer.Option(
            "--incomplete",
            help="Also list cases without some channels, to train with data.channel_dropout.",
        ),
    ] = False,
) -> None:
    """Find cases in folders and assign them to folds by patient.

    Volumes may have the file names of BraTS 2017 to 2025, BIDS, public cohorts,
    the Medical Segmentation Decathlon or nnU-Net. 2D slices (TIFF, PNG, JPEG,
    BMP) may lie in a folder for each patient, as LGG on Kaggle, or in folders of
    images and masks. No file is renamed or copied. Files and cases that are left
    out are listed with the reason; if a case is left out, the exit code is 3.

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
        spacing_mm=sizes(spacing),
        table=table,
        group_columns=_words(group_columns),
        validation=_words(validate) or (),
        names=tuple(names or ()),
        label_name=label_name,
        incomplete=incomplete,
    )
    result = run_split(folders, output, folds, labels, seed, _words(channels), options)
    print_split(result)
    _print_next(result)
    if result.finding.lost:
        raise typer.Exit(EXIT_SOME_FAILED)


def _words(listed: str | None) -> tuple[str, ...] | None:
    return tuple(word.strip() for word in listed.split(",")) if listed else None


def _config_for(data_list: DataList) -> tuple[str, tuple[str, ...]]:
    """A shipped config that fits the list, and the channels that it reads; none if they vary."""
    from volseg.cases.layouts import LGG
    from volseg.config import CHANNELS

    if not any(case.slices for case in data_list.training):
        first, *others = data_list.channels
        if first in _OF_ONE_CHANNEL and not others:
            return _OF_ONE_CHANNEL[first], data_list.channels
        return _FOR_VOLUMES, CHANNELS
    if LGG.channels and set(LGG.channels) <= set(data_list.channels):
        return "configs/lgg_unet.yaml", LGG.channels
    return "configs/png3064_unet.yaml", ()


def _print_next(result: SplitResult) -> None:
    """Print how to train on the list, with a shipped config."""
    data_list = result.data_list
    config, channels = _config_for(data_list)
    words = [f"data.data_list={result.path}"]
    schemes = {case.labels for case in data_list.training if case.labels}
    words += [f"labels={name}" for name in schemes if len(schemes) == 1]
    if data_list.channels != channels:
        words.append(f"data.channels=[{','.join(data_list.channels)}]")
    shipped = config if Path(config).exists() else "CONFIG"
    check, fit = (line("volseg", command, shipped, *words) for command in ("check", "fit"))
    steps = {"try the experiment": [check], "train": [fit]}
    if config == _FOR_VOLUMES and Path(_FOR_CPUS).exists():
        # The scans can be split on another machine than the one that trains.
        on_cpus = line("volseg", "fit", _FOR_CPUS, *words)
        steps = {"try the experiment": [check], "train on a GPU": [fit]}
        steps["train without a GPU instead"] = [on_cpus]
    next_steps(steps)


def print_split(result: SplitResult) -> None:
    """Print the cases by layout, left-out files with reasons, label schemes and folds.

    Files with the same reason share a row, so that the important reasons stay visible.
    """
    finding, cases = result.finding, result.data_list.training
    print_table("Cases found", ("layout", "cases"), sorted(finding.layouts.items()))
    if finding.skipped:
        from volseg.finding.skipped import table_rows

        print_table("Left out", ("file or folder", "reason"), table_rows(finding.skipped))
    for sentence in (*result.decisions, *result.notes):
        say(sentence)
    without = len(result.data_list.testing)
    say(f"{cases_in_words(len(cases))} with a label map, {without} without")
    columns, rows = _folds(result)
    print_table("Folds", columns, rows)
    say(f"Data list: {result.path}")


def _folds(result: SplitResult) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of the table of folds; with slices and institutions for stacks."""
    cases = result.data_list.training
    stacks = any(case.slices for case in cases)
    institutions = sorted({c.groups["institution"] for c in cases if "institution" in c.groups})
    columns = ["fold", "cases", "patients"]
    columns += ["slices", "with tumour", *institutions] if stacks else []
    rows: list[list[object]] = []
    for fold in sorted({case.fold for case in cases if case.fold is not None}):
        members = [case for case in cases if case.fold == fold]
        row: list[object] = [fold, len(members), len({case.patient_id for case in members})]
        if stacks:
            sliced = [case for case in members if case.slices]
            row.append(sum(len(case.slices) for case in sliced))
            row.append(sum(result.tumour_slices.get(case.case_id, 0) for case in sliced))
            patients = {(case.groups.get("institution"), case.patient_id) for case in members}
            row += [sum(of == name for of, _ in patients) for name in institutions]
        rows.append(row)
    return columns, rows
