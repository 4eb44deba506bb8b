"""Command `infer`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg import signals
from volseg.cli.app import EXIT_SOME_FAILED, USE, command
from volseg.cli.jobs import DryRun, Slurm, as_words, check_dry_run, tell_of_job
from volseg.cli.next_steps import REFERENCE, line, next_steps
from volseg.cli.options import (
    DataRoot,
    Fold,
    LabelName,
    Names,
    PatientRegex,
    completed_inference_keys,
)
from volseg.cli.tables import say

if TYPE_CHECKING:
    from volseg.tasks.infer import InferResult

# Of cases that failed, named at the end.
_NAMES = 20


@command(USE)
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
            autocompletion=completed_inference_keys,
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
    patient_regex: PatientRegex = None,
    names: Names = None,
    label_name: LabelName = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Only share K of N of the cases, such as 2/8; other processes do the others.",
            show_default="every case",
        ),
    ] = None,
    slurm: Slurm = None,
    dry_run: DryRun = False,
) -> None:
    """Segment scans, each result on the grid of its input.

    Of 2D images, the result is a mask for each, called as the image: in a
    folder for each case, or, where a case is a single image, in the output
    folder. The mask of a JPEG is a PNG.

    A case that fails is named and the others go on; the exit code is then 3.
    Results that exist are kept, so a stopped run goes on when called again.
    Those of images that have changed are made again; those of another patient
    of the same name, of other models or options are refused.

    N processes share the cases with --shard 1/N to --shard N/N, at the same
    time or in turn, on any machines that write to the same folder. The result
    is that of one process. On a cluster, --slurm shards=N makes a job array of
    them, its script and logs in the folder slurm of the output.

    Examples:
      volseg infer scans -m runs/brats_unet -o results
      volseg infer scans/BraTS-GLI-00001-000 -m model.safetensors -o results --tta
      volseg infer scans -m fold0.safetensors -m fold1.safetensors -o results
      volseg infer scans -m model.safetensors -o results --shard 2/8
      volseg infer scans -m model.safetensors -o results --slurm shards=8,partition=gpu
      volseg infer scans 'inference.window_size=[96,96,96]' -m model.safetensors -o results
    """
    words = [*(overrides or ()), *_override_words(tta, overlap)]
    if slurm is not None:
        flags = {"--probabilities": probabilities, "--overwrite": overwrite}
        named = {"--device": device, "--labels": labels, "--shard": shard}
        named |= {"--patient-regex": patient_regex, "--label-name": label_name}
        words += as_words(flags, named)
        words += [f"--name={name}" for name in names or ()]
        from volseg.config import read_slurm
        from volseg.slurm.submission import InferCall, submit_infer

        call = InferCall(scans, models, output, fold, data_root, words)
        tell_of_job(submit_infer(call, read_slurm(slurm), dry_run=dry_run))
        return
    check_dry_run(dry_run)

    from volseg.inference.options import InferOptions
    from volseg.tasks.infer import infer as run_infer

    signals.note_interrupts()
    options = InferOptions(
        probabilities=probabilities,
        device=device,
        overwrite=overwrite,
        labels=labels,
        fold=fold,
        data_root=data_root,
        overrides=tuple(words),
        patient_regex=patient_regex,
        names=tuple(names or ()),
        label_name=label_name,
        shard=shard,
    )
    result = run_infer(scans, models, output, options, stop=lambda: signals.received() is not None)
    _print_result(result, output)
    if result.stopped:
        say("Stopped by a signal: the same command does the rest")
        raise typer.Exit(signals.exit_code())
    if result.failures:
        raise typer.Exit(EXIT_SOME_FAILED)
    _print_next(scans, output, fold)


def _print_result(result: InferResult, output: Path) -> None:
    from volseg.words import cases_in_words

    done = cases_in_words(len(result.done)) if result.done or not result.kept else "no new case"
    failed = f", {len(result.failures)} failed" if result.failures else ""
    say(f"{done} segmented{failed}; results and {result.manifest.name} are in {output}")
    if result.failures and not result.stopped:
        # Each was named with its reason when it failed.
        names = list(result.failures)
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        say(f"Failed, for the reasons above and in the manifest: {', '.join(names[:_NAMES])}{more}")


def _override_words(tta: bool | None, overlap: float | None) -> list[str]:
    """The overrides that short options stand for."""
    named = {"tta": None if tta is None else str(tta).lower(), "overlap": overlap}
    return [f"inference.{name}={value}" for name, value in named.items() if value is not None]


def _print_next(scans: Path, output: Path, fold: int | None) -> None:
    reference = scans if scans.suffix == ".json" else REFERENCE
    of_fold = [] if fold is None else ["--fold", fold]
    evaluate = line("volseg", "evaluate", output, reference, *of_fold, "-o", "scores")
    next_steps({"score the results": [evaluate]})
