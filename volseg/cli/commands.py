"""The commands, their options and their help; each imports its task when it is called."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from volseg import DISCLAIMER, __version__
from volseg.cli.log import configure_logging
from volseg.cli.tables import (
    as_yaml,
    number,
    print_comparison,
    print_scores,
    print_split,
    print_table,
    print_validation,
    say,
)
from volseg.errors import VolsegError

EXIT_USER_ERROR = 2
EXIT_SOME_FAILED = 3
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class _Commands(TyperGroup):
    """Turns an error that the user can repair into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except VolsegError as error:
            _complain(str(error))
            raise typer.Exit(EXIT_USER_ERROR) from None
        except KeyboardInterrupt:
            _complain("interrupted")
            raise typer.Exit(EXIT_INTERRUPTED) from None


app = typer.Typer(
    name="volseg",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    # A traceback is for us: the plain one can be pasted into a report.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=DISCLAIMER,
)

START, PREPARE = "Start here", "Prepare your data"
TRAIN, USE = "Train and score", "Use a trained model"

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="Experiment, a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="key=value",
        help="Options that replace those of the file, such as training.max_epochs=50.",
        show_default=False,
    ),
]
Fold = Annotated[
    int | None,
    typer.Option(
        min=0, metavar="K", help="Only this fold of a data list.", show_default="every case"
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        metavar="FOLDER",
        help="Where the paths of a data list start from.",
        show_default="as the list says",
    ),
]


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"volseg {__version__}")
        raise typer.Exit


@app.callback()
def volseg(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Segment brain tumours in 3D: from a folder of BraTS-style MRI scans to scores.

    Start with:  volseg demo
    """
    configure_logging()


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
    patient_regex: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Finds the patient in the name of a 2D image, as its first group.",
            show_default="each image a patient, but for slices in a folder for each",
        ),
    ] = None,
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
) -> None:
    """Find cases in folders and share them out into folds by patient.

    Knows the file names of BraTS 2017 to 2025, of the Medical Segmentation
    Decathlon and of nnU-Net, and 2D slices (TIFF, PNG, JPEG, BMP): a folder for
    each patient, as LGG on Kaggle, or folders of images and masks. Renames and
    copies nothing. Each file that is left out is named with the reason.

    Examples:
      volseg split BraTS2021_Training_Data -o brats2021.json
      volseg split glioma2021 glioma2023 -o both.json --folds 3
      volseg split kaggle_3m -o lgg.json --table kaggle_3m/data.csv
      volseg split pairs -o pairs.json --patient-regex '(.+)_[0-9]+'
    """
    from volseg.tasks.split import SplitOptions
    from volseg.tasks.split import split as run_split

    options = SplitOptions(
        patient_regex=patient_regex,
        spacing_mm=_sizes(spacing) if spacing else None,
        table=table,
        group_columns=_words(group_columns),
        validation=_words(validate) or (),
    )
    print_split(run_split(folders, output, folds, labels, seed, _words(channels), options))


def _words(listed: str | None) -> tuple[str, ...] | None:
    return tuple(listed.split(",")) if listed else None


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
    for problem in result.problems:
        _complain(problem)
    if result.problems:
        raise typer.Exit(EXIT_USER_ERROR)
    say("No problem was found.")


@app.command(rich_help_panel=TRAIN)
def fit(
    config: Config,
    overrides: Overrides = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="RUN", help="Run folder.", show_default="runs/<config name>"
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last epoch of the run folder.")
    ] = False,
) -> None:
    """Train a network; the best model on the validation fold is kept.

    Watch it with:  tensorboard --logdir runs

    Examples:
      volseg fit configs/brats_unet.yaml data.data_root=FOLDER
      volseg fit configs/brats_unet.yaml data.data_root=FOLDER data.fold=1 -o runs/unet_fold1
      volseg fit configs/brats_unet.yaml data.data_root=FOLDER --resume
    """
    from volseg.config import load_config
    from volseg.tasks.fit import fit as run_fit

    folder = run or Path("runs") / config.stem
    result = run_fit(load_config(config, overrides or []), folder, resume=resume)
    if result.rank == 0:
        if result.scores:
            print_validation(result.scores)
        say(f"Model: {result.model}")
    _fail_if_some_failed(result.failures)


@app.command(rich_help_panel=USE)
def infer(  # noqa: PLR0913, PLR0917  (an option each)
    scans: Annotated[
        Path, typer.Argument(metavar="SCANS", help="Folder of cases, one case, or a data list.")
    ],
    models: Annotated[
        list[Path],
        typer.Option(
            "-m", "--model", metavar="MODEL", help="Model file or run folder; several are averaged."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the label maps.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="inference.key=value",
            help="Options that replace those of the model, such as inference.window_batch=2.",
            show_default=False,
        ),
    ] = None,
    tta: Annotated[
        bool | None,
        typer.Option(
            "--tta/--no-tta", help="Mean over mirrored copies.", show_default="as the model says"
        ),
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Of neighbouring windows.", show_default="as the model says"
        ),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write a map for each region.")
    ] = False,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps.")
    ] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Do finished cases again, too.")
    ] = False,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Label scheme to write.", show_default="that of the model"
        ),
    ] = None,
    fold: Fold = None,
    data_root: DataRoot = None,
    patient_regex: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Finds the patient in the name of a 2D image, as its first group; the images of a "
            "patient are then one case.",
            show_default="each image a case, but for slices in a folder for each patient",
        ),
    ] = None,
) -> None:
    """Segment scans, each result on the grid of its input.

    Of 2D images, the result is a mask for each, called as the image: in a
    folder for each case, or, where a case is a single image, in the output
    folder. The mask of a JPEG is a PNG.

    A case that fails is named and the others go on; the exit code is then 3.
    Results that exist are kept, so a stopped run goes on when called again.

    Examples:
      volseg infer scans -m runs/brats_unet -o results
      volseg infer scans/BraTS-GLI-00001-000 -m model.safetensors -o results --tta
      volseg infer scans -m fold0.safetensors -m fold1.safetensors -o results
      volseg infer scans 'inference.window_size=[96,96,96]' -m model.safetensors -o results
    """
    from volseg.datalist.conventions import cases_in_words
    from volseg.tasks.infer import InferOptions
    from volseg.tasks.infer import infer as run_infer

    options = InferOptions(
        tta=tta,
        overlap=overlap,
        probabilities=probabilities,
        device=device,
        overwrite=overwrite,
        labels=labels,
        fold=fold,
        data_root=data_root,
        overrides=tuple(overrides or ()),
        patient_regex=patient_regex,
    )
    result = run_infer(scans, models, output, options)
    kept = f", {len(result.kept)} were there already" if result.kept else ""
    done = cases_in_words(len(result.done))
    say(f"{done} segmented{kept}; results and manifest.json are in {output}")
    _fail_if_some_failed(result.failures)


@app.command(rich_help_panel=TRAIN)
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
    _fail_if_some_failed(result.failures)
    if result.missing:
        raise typer.Exit(EXIT_SOME_FAILED)


@app.command(rich_help_panel=TRAIN)
def compare(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|CONFIG...",
            help="Run folders, configs to train first, and key=value for the configs.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for the tables and the picture.")
    ],
) -> None:
    """Compare networks on the same patients: scores, tests, size and speed.

    A config is trained first, into OUTPUT/runs/NAME; called again, what is
    finished is kept and what was stopped goes on. A training that fails is
    named and the others go on; the exit code is then 3. What volseg evaluate
    wrote can be compared like a run.

    Examples:
      volseg compare runs/unet runs/segresnet -o comparison
      volseg compare configs/brats_*.yaml data.data_root=FOLDER -o comparison
    """
    from volseg.tasks.compare import compare as run_compare

    overrides = [word for word in sources if "=" in word and not Path(word).exists()]
    paths = [Path(word) for word in sources if word not in overrides]
    result = run_compare(paths, output, overrides)
    print_comparison(result)
    _fail_if_some_failed(result.failures, "run")


@app.command(rich_help_panel=USE)
def info(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Model, run, data list, config, scan, 2D image, folder, manifest or scores.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """Tell what a model, a run, a data list, a scan, a 2D image or a result is.

    Of a folder it tells the cases, of scores the mean Dice, of a label map the
    values.

    Examples:
      volseg info runs/brats_unet/model.safetensors
      volseg info scan.nii.gz --json
      volseg info kaggle_3m
      volseg info results/manifest.json
    """
    from volseg.tasks.info import info as run_info

    facts = run_info(file)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        typer.echo(as_yaml(facts))


def _complain(sentence: str) -> None:
    typer.echo(f"Error: {sentence}", err=True)


def _fail_if_some_failed(
    failures: Mapping[str, str] | Iterable[tuple[str, str]], what: str = "case"
) -> None:
    """Name each case or run that failed with its reason, if there is one, and exit with 3."""
    named = list(failures.items() if isinstance(failures, Mapping) else failures)
    if named:
        print_table("Failed", (what, "reason"), named)
        raise typer.Exit(EXIT_SOME_FAILED)
