"""Commands `fit`, `evaluate` and `compare`; each imports its task when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volseg.cli.app import (
    EXIT_SOME_FAILED,
    TRAIN,
    Config,
    DataRoot,
    Fold,
    Overrides,
    app,
    fail_if_some_failed,
)
from volseg.cli.tables import (
    print_comparison,
    print_scores,
    print_validation,
    say,
)


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
    fail_if_some_failed(result.failures)


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
    fail_if_some_failed(result.failures)
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
    fail_if_some_failed(result.failures, "run")
