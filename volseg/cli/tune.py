"""Command `tune`, and the tables of its gain and its fits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.cli.app import TRAIN, command, fail_if_some_failed
from volseg.cli.confidence_tables import print_calibration, print_predicted_dice
from volseg.cli.next_steps import SCANS, line, next_steps
from volseg.cli.options import DataRoot
from volseg.cli.tables import number, print_table, say

if TYPE_CHECKING:
    from volseg.tasks.tune import TuneResult


@command(TRAIN)
def tune(  # noqa: PLR0913, PLR0917  (an option each)
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run folder; several are the folds of one cross-validation."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="File *.safetensors for a copy of the model; of several runs, a folder.",
            show_default="the model of each run is changed",
        ),
    ] = None,
    data_list: Annotated[
        Path | None,
        typer.Option(
            "--data-list",
            metavar="LIST",
            help="Data list of other cases, which the model was not trained on.",
            show_default="the validation cases of the run",
        ),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(min=0, metavar="K", help="Fold of LIST to use.", show_default="every case"),
    ] = None,
    data_root: DataRoot = None,
    protocol: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Score to tune: Dice of volseg, or the lesion-wise Dice of an official protocol "
            "such as brats2023-gli.",
        ),
    ] = "volseg",
    tta: Annotated[
        bool,
        typer.Option(
            "--tta/--no-tta",
            help="Also try test-time augmentation, which takes several times as long.",
        ),
    ] = True,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps.")
    ] = "auto",
) -> None:
    """Tune how probabilities become labels, and fit how sure the model is.

    Segments the validation cases and searches, by region, threshold, smallest
    component, largest component and smallest total volume for the best mean
    Dice. The gain is that of held-out patients: each patient is scored with
    options that were chosen on other patients. The options are written into the
    model only if the 95 % interval of the gain lies above 0.

    On the same cases it fits the temperature that makes probabilities agree best
    with the observed shares, and a prediction of the Dice of a new case. infer
    applies both.

    At least three patients are needed, and with few patients a gain is rarely
    more than chance; the folds of a cross-validation can be pooled.

    Examples:
      volseg tune runs/brats_unet
      volseg tune runs/cv/fold0 runs/cv/fold1 runs/cv/fold2 -o tuned
      volseg tune runs/brats_unet --data-list others.json -o tuned.safetensors
    """
    from volseg.tasks.tune import tune as run_tune

    result = run_tune(runs, output, data_list, fold, data_root, protocol, tta=tta, device=device)
    _print_gain(result)
    _print_confidence(result)
    _print_outcome(result)
    fail_if_some_failed(result.failures)
    for model in result.models[:1]:
        next_steps(
            {"segment scans": [line("volseg", "infer", SCANS, "-m", model, "-o", "results")]}
        )


def _print_gain(result: TuneResult) -> None:
    from volseg.tuning.gain import how_held_out
    from volseg.words import shown

    gain = result.gain
    patients = len(set(gain.patients))
    print_table(
        f"{result.score} of held-out patients ({patients}, {how_held_out(patients)})",
        ("region", "before", "after", "gain", "95 % interval"),
        [
            (region, number(before, 3), number(after, 3), f"{of:+.4f}", _interval(*interval))
            for region, before, after, of, interval in gain.by_region()
        ],
    )
    if result.options:
        before, after = result.initial.inference(), result.tuned.inference()
        rows = [(name, shown(before[name]), shown(value)) for name, value in after.items()]
        print_table("Options", ("inference.", "before", "after"), [r for r in rows if r[1] != r[2]])


def _print_confidence(result: TuneResult) -> None:
    confidence = result.confidence
    print_calibration(confidence.calibration(), confidence.in_files)
    if confidence.predictor is None:
        say(f"No prediction of the Dice is fitted: {confidence.reason}")
    else:
        print_predicted_dice(confidence.predictor.to_dict(), confidence.temperatures)
    if result.drops_copies:
        say(
            "The fit of the predicted Dice with mirrored copies, of an earlier tuning, is dropped; "
            "to fit it again, tune without --no-tta"
        )


def _print_outcome(result: TuneResult) -> None:
    gain = result.gain
    patients = len(set(gain.patients))
    what = f"gain in {result.score} of {patients} held-out patients"
    figures = f"{gain.mean:+.4f}, 95 % interval {_interval(*gain.interval)}"
    if result.options:
        say(f"Mean {what}: {figures}")
    else:
        stays = "The options stay" if result.models else "Nothing is changed"
        is_worse = gain.interval[1] < 0
        why = (
            f"tuned options are worse: mean {what}"
            if is_worse
            else f"the mean {what} may be chance"
        )
        say(f"{stays}: {why} ({figures})")
    for model in result.models:
        say(f"Tuned model: {model}")


def _interval(low: float, high: float) -> str:
    return f"{low:+.4f} to {high:+.4f}"
